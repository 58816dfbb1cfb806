package record_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"veto/record"
)

func revoke() record.Command {
	return record.Command{
		Stamp: time.UnixMilli(1_700_000_000_123).UTC(), By: "key_1",
		Request: record.Request{Key: "retry-1", Sum: [32]byte{1}},
		Body: record.Revoke{Revocations: []record.Revocation{{
			Name:      record.Name{Target: record.TargetSubject, Issuer: "https://issuer.example", Value: "alice"},
			NotBefore: time.Unix(1_700_000_000, 0).UTC(), Reason: "left",
		}}},
	}
}

func TestCommandSurvivesItsByteForm(t *testing.T) {
	want := revoke()
	want.Ahead = 40 * time.Hour
	b, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := record.DecodeCommand(b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// R2: a node that knows no conditions must not do a command without the one that it has.
func TestConditionIsInTheHeader(t *testing.T) {
	want := revoke()
	plain, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	want.Condition = record.Condition{When: record.WhenRevision, Revisions: []record.Revision{7, 9}}
	b, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := record.DecodeCommand(b)
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v %s", err, d)
	}
	if plain[1] != 0 || b[1] != 2 {
		t.Errorf("flags %d without, %d with a condition", plain[1], b[1])
	}
	for name, bytes := range map[string][]byte{
		"said in the header alone": append([]byte{1, 2}, plain[2:]...), "not said in the header": append([]byte{1, 0}, b[2:]...),
	} {
		if _, err := record.DecodeCommand(bytes); err == nil {
			t.Errorf("a condition %s is taken", name)
		}
	}
	for _, bad := range []record.Condition{
		{When: 4}, {When: record.WhenThere, Revisions: []record.Revision{1}}, {When: record.WhenRevision, Revisions: make([]record.Revision, record.MaxConditions+1)},
	} {
		want.Condition = bad
		if _, err := want.Encode(); err == nil {
			t.Errorf("%+v is encoded", bad)
		}
	}
}

func TestConditionIsMet(t *testing.T) {
	for _, c := range []struct {
		is   record.Condition
		at   record.Revision
		want bool
	}{
		{record.Condition{}, 0, true},
		{record.Condition{}, 7, true},
		{record.Condition{When: record.WhenThere}, 0, false},
		{record.Condition{When: record.WhenThere}, 7, true},
		{record.Condition{When: record.WhenAbsent}, 0, true},
		{record.Condition{When: record.WhenAbsent}, 7, false},
		{record.Condition{When: record.WhenRevision}, 0, false},
		{record.Condition{When: record.WhenRevision}, 7, false},
		{record.Condition{When: record.WhenRevision, Revisions: []record.Revision{0, 7}}, 0, false},
		{record.Condition{When: record.WhenRevision, Revisions: []record.Revision{0, 7}}, 7, true},
		{record.Condition{When: record.WhenRevision, Revisions: []record.Revision{0, 7}}, 8, false},
	} {
		if c.is.Met(c.at) != c.want {
			t.Errorf("%+v at %d: %v", c.is, c.at, !c.want)
		}
	}
}

// R1
func TestEncodingIsDeterministic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := record.APIKey{
			ID:     rapid.String().Draw(t, "id"),
			Scopes: rapid.SliceOf(rapid.String()).Draw(t, "scopes"),
			Roles:  []record.Role{record.RoleAuditor},
		}
		first, err := record.Encode(&key)
		if err != nil {
			t.Fatal(err)
		}
		var back record.APIKey
		if err := record.Decode(first, &back); err != nil {
			t.Fatal(err)
		}
		second, err := record.Encode(&back)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first, second) {
			t.Fatalf("encoded %x, then %x", first, second)
		}
	})
}

// R2
func TestUnknownCommand(t *testing.T) {
	c := revoke()
	known, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(b []byte){
		"format":   func(b []byte) { b[0] = 99 },
		"a flag":   func(b []byte) { b[1] = 0x80 },
		"kind":     func(b []byte) { b[2] = 0xff },
		"kind one": func(b []byte) { b[2], b[3] = 0, 0 },
	} {
		for _, skippable := range []bool{false, true} {
			b := bytes.Clone(known)
			change(b)
			if skippable {
				b[1] |= 1
			}
			_, err := record.DecodeCommand(b)
			var unknown *record.UnknownCommandError
			if !errors.As(err, &unknown) || unknown.Skippable != skippable {
				t.Errorf("%s: got %v, want an unknown command with skippable=%v", name, err, skippable)
			}
		}
	}
}

// R2: a node must not do by half what a newer one does whole.
func TestUnknownFieldIsNotLeftOut(t *testing.T) {
	c := revoke()
	for name, change := range map[string]func(envelope map[int]any){
		"of the envelope": func(e map[int]any) { e[99] = "new" },
		"of the body":     func(e map[int]any) { e[4].(map[any]any)[uint64(99)] = true },
		"of a record":     func(e map[int]any) { e[4].(map[any]any)[uint64(1)].([]any)[0].(map[any]any)[uint64(99)] = 7 },
	} {
		for _, skippable := range []bool{false, true} {
			c.Skippable = skippable
			b, err := c.Encode()
			if err != nil {
				t.Fatal(err)
			}
			envelope := map[int]any{}
			if err := cbor.Unmarshal(b[4:], &envelope); err != nil {
				t.Fatal(err)
			}
			change(envelope)
			changed, err := cbor.Marshal(envelope)
			if err != nil {
				t.Fatal(err)
			}
			_, err = record.DecodeCommand(append(b[:4:4], changed...))
			var unknown *record.UnknownCommandError
			if !errors.As(err, &unknown) || unknown.Skippable != skippable {
				t.Errorf("a field %s, skippable %v: %v", name, skippable, err)
			}
		}
	}
}

// R5
func TestLevels(t *testing.T) {
	conditional := revoke()
	conditional.Condition = record.Condition{When: record.WhenThere}
	behind := revoke()
	behind.Ahead = time.Hour
	person := revoke()
	person.From.Person = record.Person{Issuer: "corp", Subject: "alice"}
	jti := []record.Revocation{{Name: record.Name{Target: record.TargetJTI, Issuer: "i"}}}
	for name, x := range map[string]struct {
		command record.Command
		want    record.Level
	}{
		"revoke":                    {revoke(), record.LevelFirst},
		"with a condition":          {conditional, record.LevelKeys},
		"by a clock that is behind": {behind, record.LevelKeys},
		"by a person":               {person, record.LevelKeys},
		"a kind that came later":    {record.Command{Body: record.PutRole{}}, record.LevelKeys},
		"a field that did":          {record.Command{Body: record.CreateKey{Key: record.APIKey{Environment: "live"}}}, record.LevelKeys},
		"without that field":        {record.Command{Body: record.CreateKey{Key: record.APIKey{Name: "n"}}}, record.LevelFirst},
		"a field behind pointers":   {record.Command{Body: record.ManageKey{Create: &record.CreateKey{}}}, record.LevelKeys},
		"a stream":                  {record.Command{Body: record.Import{Alike: jti}}, record.LevelFirst},
		"large parts of a stream":   {record.Command{Body: record.Import{Items: make([]record.ImportItem, 4097)}}, record.LevelTrail},
		"small ones":                {record.Command{Body: record.Import{Items: make([]record.ImportItem, 4096)}}, record.LevelFirst},
		"a stream with sums":        {record.Command{Body: record.Import{Alike: jti, Sums: []byte{1}}}, record.LevelKeys},
		"what may be left out":      {record.Command{Skippable: true, Body: record.KeysUsed{}}, record.LevelFirst},
		"the level itself":          {record.Command{Body: record.RaiseLevel{To: 9}}, record.LevelFirst},
	} {
		if got := x.command.Level(); got != x.want {
			t.Errorf("%s: %d, want %d", name, got, x.want)
		}
	}
}

func FuzzDecodeCommand(f *testing.F) {
	c := revoke()
	b, err := c.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	c.Condition = record.Condition{When: record.WhenRevision, Revisions: []record.Revision{7}}
	if b, err = c.Encode(); err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{1, 0, 0, 1})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := record.DecodeCommand(b)
		if err != nil {
			return
		}
		again, err := c.Encode()
		var beyond *cbor.UnsupportedValueError
		if errors.As(err, &beyond) {
			return // a time after the year 9999, which no record is written with: the state refuses it
		}
		if err != nil {
			t.Fatalf("decoded, yet cannot be encoded: %v", err)
		}
		if _, err := record.DecodeCommand(again); err != nil {
			t.Fatalf("encoded, yet cannot be decoded: %v", err)
		}
	})
}

// What is encoded can be decoded: a command that could not would stop every node.
func TestEncodeRefusesWhatDecodeDoes(t *testing.T) {
	for _, n := range []int{255, 256} {
		c := revoke()
		c.Request.Key = strings.Repeat("k", n)
		b, err := c.Encode()
		if (err == nil) != (n <= 255) {
			t.Errorf("a key of %d bytes: %v", n, err)
		}
		if err == nil {
			if _, err := record.DecodeCommand(b); err != nil {
				t.Error(err)
			}
		}
	}
}

// R3
func TestDigestSeparatesFields(t *testing.T) {
	key := record.DigestKey{7}
	rapid.Check(t, func(t *rapid.T) {
		name := func(label string) record.Name {
			n := record.Name{
				Target: record.Target(rapid.IntRange(1, 9).Draw(t, label+" target")),
				Issuer: rapid.StringMatching(`[ab]{0,3}`).Draw(t, label+" issuer"),
				Value:  rapid.StringMatching(`[ab]{0,3}`).Draw(t, label+" value"),
			}
			for _, target := range []record.Target{record.TargetSubject, record.TargetClient, record.TargetSession, record.TargetSigningKey} {
				if n.Target >= record.TargetSubject && n.Target < target && rapid.Bool().Draw(t, label+" and") {
					n.And = append(n.And, record.Part{Target: target, Value: rapid.StringMatching(`[ab]{0,3}`).Draw(t, label+" part")})
				}
			}
			return n
		}
		a, b := name("a"), name("b")
		if cmp.Equal(a, b) != (key.Digest(a) == key.Digest(b)) {
			t.Fatalf("%+v and %+v: digests %x and %x", a, b, key.Digest(a), key.Digest(b))
		}
	})
	if (record.DigestKey{1}).Digest(record.Name{Target: 1}) == (record.DigestKey{2}).Digest(record.Name{Target: 1}) {
		t.Error("the digest does not depend on the cluster's key")
	}
}

func TestRevocationID(t *testing.T) {
	d := record.DigestKey{1}.Digest(record.Name{Target: record.TargetJTI, Issuer: "i", Value: "v"})
	back, err := record.ParseRevocationID(d.RevocationID())
	if err != nil || back != d {
		t.Errorf("%s came back as %x, %v", d.RevocationID(), back, err)
	}
	for _, bad := range []string{"", "rev_", "key_0000", "rev_" + "U", d.RevocationID() + "0"} {
		if _, err := record.ParseRevocationID(bad); err == nil {
			t.Errorf("%q was taken for a revocation id", bad)
		}
	}
}

func TestCombinations(t *testing.T) {
	subject, client := record.Part{Target: record.TargetSubject, Value: "alice"}, record.Part{Target: record.TargetClient, Value: "app"}
	of := func(parts ...record.Part) record.Name {
		return record.Name{Target: parts[0].Target, Issuer: "i", Value: parts[0].Value, And: parts[1:]}.Canonical()
	}
	key := record.DigestKey{1}
	a, b := key.Digest(of(subject, client)), key.Digest(of(client, subject))
	if a != b {
		t.Error("the order of the parts makes another name")
	}
	if got := a.Class().Combined(); !cmp.Equal(got, []record.Target{record.TargetSubject, record.TargetClient}) {
		t.Errorf("the class combines %v", got)
	}
	if got := key.Digest(of(subject)).Class(); got.Combined() != nil || got != record.Class(record.TargetSubject) {
		t.Errorf("one target has class %d", got)
	}
	for name, n := range map[string]record.Name{
		"twice":     of(subject, subject),
		"jti":       of(subject, record.Part{Target: record.TargetJTI, Value: "j"}),
		"key":       of(record.Part{Target: record.TargetKey, Value: "k"}, subject),
		"empty":     of(subject, record.Part{Target: record.TargetClient}),
		"unordered": {Target: record.TargetClient, Issuer: "i", Value: "app", And: []record.Part{subject}},
		"no issuer": {Target: record.TargetSubject, Value: "alice", And: []record.Part{client}},
	} {
		if n.Check() == nil {
			t.Errorf("%s: %+v was taken", name, n)
		}
	}
	if err := of(client, subject).Check(); err != nil {
		t.Error(err)
	}
}

func TestNameCheck(t *testing.T) {
	for _, c := range []struct {
		name record.Name
		ok   bool
	}{
		{record.Name{Target: record.TargetJTI, Issuer: "i", Value: "v"}, true},
		{record.Name{Target: record.TargetIssuer, Issuer: "i"}, true},
		{record.Name{Target: record.TargetKey, Value: "key_1"}, true},
		{record.Name{Target: record.TargetJTI, Value: "v"}, false},
		{record.Name{Target: record.TargetJTI, Issuer: "i"}, false},
		{record.Name{Target: record.TargetIssuer, Issuer: "i", Value: "v"}, false},
		{record.Name{Target: record.TargetKey, Issuer: "i", Value: "v"}, false},
		{record.Name{Issuer: "i", Value: "v"}, false},
		{record.Name{Target: 99, Issuer: "i", Value: "v"}, false},
		{record.Name{Target: record.TargetJTI, Issuer: "i", Value: string(make([]byte, 5000))}, false},
	} {
		if err := c.name.Check(); (err == nil) != c.ok {
			t.Errorf("%.80v: %v, want ok=%v", c.name, err, c.ok)
		}
	}
}

func TestLifetimeOfTokensFromBeforeARaise(t *testing.T) {
	raised := time.Unix(1_700_000_000, 0)
	i := record.Issuer{
		MaxLifetime:   record.Duration(24 * time.Hour),
		ShorterBefore: []record.LifetimeLimit{{IssuedBefore: raised, MaxLifetime: record.Duration(time.Hour)}},
	}
	if got := i.LifetimeFor(raised.Add(-time.Second)); got != time.Hour {
		t.Errorf("issued before the raise: %s, want 1h", got)
	}
	if got := i.LifetimeFor(raised); got != 24*time.Hour {
		t.Errorf("issued after the raise: %s, want 24h", got)
	}
}

func TestKeyAfter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		small := rapid.SampledFrom([]byte{0, 1, 0xfe, 0xff})
		prefix, key := rapid.SliceOfN(small, 1, 3).Draw(t, "prefix"), rapid.SliceOfN(small, 0, 4).Draw(t, "key")
		end := record.KeyAfter(prefix)
		within := bytes.Compare(key, prefix) >= 0 && (end == nil || bytes.Compare(key, end) < 0)
		if within != bytes.HasPrefix(key, prefix) {
			t.Fatalf("%x in [%x, %x): %v", key, prefix, end, within)
		}
	})
}

// R1
func TestStencilEncodesAsEncode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := record.Revocation{
			Name: record.Name{
				Target: record.Target(rapid.IntRange(1, 9).Draw(t, "target")),
				Issuer: rapid.StringN(0, 300, -1).Draw(t, "issuer"),
				Value:  rapid.StringN(1, 70_000, -1).Draw(t, "value"),
			},
			Reason: rapid.String().Draw(t, "reason"), By: rapid.String().Draw(t, "by"),
			Revision: record.Revision(rapid.Uint64().Draw(t, "revision")),
		}
		if rapid.Bool().Draw(t, "and") {
			r.And = []record.Part{{Target: record.TargetClient, Value: "app"}}
		}
		if rapid.Bool().Draw(t, "times") {
			r.At, r.KeptUntil, r.NotBefore = time.Unix(1_700_000_000, 5).UTC(), time.Unix(1_800_000_000, 0).UTC(), time.Unix(1_600_000_000, 0).UTC()
		}
		want, err := record.Encode(&r)
		if err != nil {
			t.Fatal(err)
		}
		s, err := record.NewStencil(r)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Append(nil, r.Value); !bytes.Equal(got, want) {
			t.Fatalf("%x, want %x", got, want)
		}
	})
}

// R2
func TestWhatIsAlikeIsNotThere(t *testing.T) {
	key := record.RevocationKey(7, record.Digest{1}, 0)
	value := append([]byte(record.NewAlike(1<<40, 300)), "value"...)
	none := func([]byte) ([]byte, bool, error) { return nil, false, nil }
	for n := 1; n <= len(value); n++ {
		if r, ok, err := record.StoredRevocation(key, value[:n], none); ok || err != nil {
			t.Errorf("%x: %+v, %v", value[:n], r, err)
		}
	}
	if _, ok, err := record.StoredRevocation(key[1:], value, none); ok || err == nil {
		t.Errorf("under a key of nothing: %v, %v", ok, err)
	}
}

func TestScopesOfKeys(t *testing.T) {
	for scope, good := range map[string]bool{
		"orders:read": true, "orders:*": true, "*": true, "https://api.example/orders.read": true, "a:b:*": true, "!": true,
		"orders*": false, "*:read": false, "orders:*:own": false, "orders:**": false, "a b": false, "a\"": false, "a\\b": false, "é": false, "a\n": false, "": false,
	} {
		k := record.APIKey{ID: "key_1", Consumer: "acme", Hash: record.KeyHash{1}, Scopes: []string{scope}}
		if err := k.Check(); (err == nil) != good {
			t.Errorf("%q: %v", scope, err)
		}
	}
}

func TestConsumersAreFound(t *testing.T) {
	yes, no := true, false
	c := record.Consumer{ID: "acme", Name: "Acme Corp", Tags: []string{"eu", "tier:1"}}
	for _, q := range []record.ConsumerQuery{{}, {Text: "CORP"}, {Text: "acm"}, {Tags: []string{"eu"}}, {Tags: []string{"tier:1", "eu"}}, {Disabled: &no}} {
		if !q.Finds(&c) {
			t.Errorf("%+v does not find it", q)
		}
	}
	for _, q := range []record.ConsumerQuery{{Text: "acme corp x"}, {Tags: []string{"eu", "us"}}, {Tags: []string{"tier"}}, {Disabled: &yes}, {Text: "acme", Disabled: &yes}} {
		if q.Finds(&c) {
			t.Errorf("%+v finds it", q)
		}
	}
	for tag, good := range map[string]bool{"eu": true, "tier:1": true, "a.b_c-d": true, "": false, "EU": false, "a b": false, strings.Repeat("x", 64): false} {
		if err := (&record.Consumer{ID: "acme", Tags: []string{tag}}).Check(); (err == nil) != good {
			t.Errorf("%q: %v", tag, err)
		}
	}
	if err := (&record.Consumer{ID: "acme", Tags: []string{"eu", "eu"}}).Check(); err == nil {
		t.Error("a tag twice")
	}
}

func TestFormOfKeys(t *testing.T) {
	for name, c := range map[string]struct {
		key record.APIKey
		ok  bool
	}{
		"plain":                {record.APIKey{}, true},
		"environment":          {record.APIKey{Environment: "live2"}, true},
		"operators' word":      {record.APIKey{Environment: "op"}, false},
		"capitals":             {record.APIKey{Environment: "Live"}, false},
		"too long":             {record.APIKey{Environment: strings.Repeat("a", 17)}, false},
		"of an operator":       {record.APIKey{Environment: "live", Roles: []record.Role{record.RoleAdmin}}, false},
		"imported":             {record.APIKey{Imported: true, Hint: strings.Repeat("h", 64)}, true},
		"hint too long":        {record.APIKey{Imported: true, Hint: strings.Repeat("h", 65)}, false},
		"imported operator":    {record.APIKey{Imported: true, Roles: []record.Role{record.RoleAuditor}}, false},
		"imported environment": {record.APIKey{Imported: true, Environment: "live"}, false},
	} {
		k := c.key
		k.ID, k.Hash = "key_1", record.KeyHash{1}
		if len(k.Roles) == 0 {
			k.Consumer = "acme"
		}
		if err := k.Check(); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRolesOfAKey(t *testing.T) {
	many := make([]record.Role, 33)
	for i := range many {
		many[i] = record.Role(fmt.Sprint("r", i))
	}
	for _, c := range []struct {
		consumer string
		roles    []record.Role
		wrong    string
	}{
		{"", []record.Role{record.RoleAdmin, record.RoleAuditor}, ""},
		{"", []record.Role{"reader"}, "not of admin"},
		{"", nil, "give the consumer"},
		{"shop", nil, ""},
		{"shop", many[:32], ""},
		{"shop", many, "at most 32"},
		{"shop", []record.Role{"reader", "reader"}, "there twice"},
		{"shop", []record.Role{record.RoleAdmin}, "Veto's own"},
		{"shop", []record.Role{record.RoleValidator}, "Veto's own"},
		{"shop", []record.Role{"Reader"}, "a-z"},
		{"shop", []record.Role{""}, "1 to 63"},
	} {
		k := record.APIKey{ID: "key_1", Hash: record.KeyHash{1}, Consumer: c.consumer, Roles: c.roles}
		if err := k.Check(); (err == nil) != (c.wrong == "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("%q %v: %v, want %q", c.consumer, c.roles, err, c.wrong)
		}
		if c.consumer != "" && (k.IsOperator() || k.HasRole(record.RoleAdmin) || k.HasRole(record.RoleValidator)) {
			t.Errorf("a consumer's key with %v is an operator's", c.roles)
		}
	}
	for _, r := range []record.DefinedRole{
		{ID: record.RoleRevoker},
		{ID: "a b"},
		{ID: "a", Scopes: []string{"x y"}},
		{ID: "a", Scopes: []string{"x", "x"}},
		{ID: "a", Scopes: make([]string, 257)},
		{ID: "a", Name: strings.Repeat("x", 201)},
	} {
		if r.Check() == nil {
			t.Errorf("%+v is taken", r)
		}
	}
}
