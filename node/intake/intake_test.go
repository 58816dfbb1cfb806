package intake_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"veto/node/httpapi"
	"veto/node/intake"
	"veto/record"
	"veto/validate"
)

var now = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

const (
	ours   = "https://ours.example"
	theirs = "https://theirs.example"
)

// cluster takes everything, and has some keys.
type cluster struct {
	taken    []record.Taken
	keys     map[string]record.APIKey
	revoked  string
	fail     error
	pending  bool // what is taken is not in the log
	untold   bool // the log tells of another that stands
	lifted   bool
	revision record.Revision
}

func (c *cluster) Revoke(_ context.Context, t record.Taken, _ time.Duration) (record.Accepted, error) {
	if c.fail != nil {
		return record.Accepted{}, c.fail
	}
	c.taken = append(c.taken, t)
	if c.pending {
		return record.Accepted{Number: 1}, nil
	}
	if c.untold {
		return record.Accepted{Revision: 1}, nil
	}
	return record.Accepted{Revision: 7, Kept: record.KeptUntil(now.Add(time.Hour))}, nil
}

func (c *cluster) Inspect(token string, _ time.Time) (*validate.Claims, validate.Code) {
	if strings.HasPrefix(token, "unknown key ") || strings.HasPrefix(token, "new key ") && c.revision == 0 {
		return nil, validate.UnknownSigningKey
	}
	token = strings.TrimPrefix(token, "new key ")
	iss, ok := strings.CutPrefix(token, "of ")
	if !ok {
		return nil, validate.UnknownIssuer
	}
	return &validate.Claims{Issuer: iss, JTI: "j", ExpiresAt: now.Add(time.Hour)}, validate.OK
}

func (c *cluster) RevocationID(n record.Name) string {
	return record.DigestKey{}.Digest(n).RevocationID()
}

func (c *cluster) Stands(ctx context.Context, r record.Revocation, a record.Accepted) (record.Revocation, bool, error) {
	until, told := a.Kept.Until()
	select {
	case <-ctx.Done():
		a.Revision = 0
	default:
	}
	switch {
	case c.lifted:
		return r, false, record.Conflict("lifted since")
	case a.Revision == 0:
		return r, false, nil
	case told:
		r.Revision, r.KeptUntil = a.Revision, until
		return r, true, nil
	}
	return record.Revocation{Revision: 5, NotBefore: now, KeptUntil: now.Add(2 * time.Hour)}, true, nil
}

func (c *cluster) EnforcedOn(context.Context, record.Accepted, bool) (on, pending []string) {
	return []string{"n1"}, []string{"n2"}
}

func (c *cluster) Key(id string) (record.APIKey, bool, error) {
	k, ok := c.keys[id]
	k.ID = id
	return k, ok, nil
}

func (c *cluster) Revoked(n record.Name, _ int64) (record.Revocation, bool) {
	return record.Revocation{}, n.Target == record.TargetKey && n.Value == c.revoked
}

func (c *cluster) Freshness() record.Freshness { return record.Freshness{Revision: c.revision} }

// AwaitRevision reaches one revision more, at which a key comes that this node did not know.
func (c *cluster) AwaitRevision(ctx context.Context, r record.Revision) error {
	if r > 1 {
		<-ctx.Done()
		return ctx.Err()
	}
	c.revision = r
	c.keys["key_late"] = record.APIKey{Roles: []record.Role{record.RoleRevoker}}
	return nil
}

func open(t *testing.T) (*intake.Intake, *cluster) {
	t.Helper()
	revoker := []record.Role{record.RoleRevoker}
	c := &cluster{revoked: "key_revoked", keys: map[string]record.APIKey{
		"key_good": {Roles: revoker}, "key_admin": {Roles: []record.Role{record.RoleAdmin}}, "key_bound": {Roles: revoker, Issuers: []string{ours}},
		"key_reader": {Roles: []record.Role{record.RoleAuditor, record.RoleValidator}}, "key_off": {Roles: revoker, Disabled: true},
		"key_old": {Roles: revoker, ExpiresAt: now}, "key_young": {Roles: revoker, ExpiresAt: now.Add(1)},
		"key_revoked": {Roles: revoker}, "key_consumer": {Consumer: "shop"}, "key_other": {Consumer: "till"},
		"key_shop": {Roles: revoker, Consumers: []string{"shop"}}, "key_both": {Roles: revoker, Consumers: []string{"shop"}, Issuers: []string{ours}},
		"key_tokens": {Roles: revoker, Targets: []string{"jti", "token", "subject"}}, "key_narrow": {Roles: revoker, Consumers: []string{"shop"}, Targets: []string{"key"}},
	}}
	return intake.New(intake.Config{Taker: c, Tokens: c, Revocations: c, Keys: c, State: c, Owners: c, Cluster: c, NodeID: "n1", Now: func() time.Time { return now }}), c
}

// answered sends a message and reads the answer.
func answered(t *testing.T, x *intake.Intake, key, body, request string) (record.Receipt, httpapi.Problem) {
	t.Helper()
	answer, unknown := x.Answer(t.Context(), key, []byte(body), request, record.Origin{}, time.Second)
	if unknown != nil {
		t.Error(unknown)
	}
	var r record.Receipt
	var p httpapi.Problem
	if err := errors.Join(json.Unmarshal(answer, &r), json.Unmarshal(answer, &p)); err != nil {
		t.Fatalf("%s: %v", answer, err)
	}
	return r, p
}

const good = `{"target":"jti","issuer":"` + ours + `","value":"a"}`

// I1
func TestWrongRequests(t *testing.T) {
	x, c := open(t)
	for _, bad := range []string{
		``, `null`, `[]`, `"x"`, `{`, good + good, `{"target":"jti","target":"jti"}`, `{"targets":"jti"}`, `{"target":"everyone"}`, `{"target":3}`,
		`{"target":"jti","issuer":"i","value":"` + "\xff" + `"}`, `{"target":"jti","value":"x"}`, `{"target":"jti","issuer":"i","value":"eyJh.eyJi."}`,
		`{"target":"jti","issuer":"i","value":"x","not_before":"yesterday"}`, `{"target":"subject","issuer":"i","value":"x","not_before":"0001-01-01T00:00:00Z"}`,
		`{"token":"of ` + ours + `","target":"jti"}`, `{"token":"not one"}`, `{"target":"subject","issuer":"i","value":"` + strings.Repeat("x", record.MaxRevocationText) + `"}`,
		`{"target":"subject","issuer":"i","value":"x","and":[{"target":"client","value":"a"},{"target":"client","value":"a"},{"target":"client","value":"a"},{"target":"client","value":"a"}]}`,
		`{"token":"` + strings.Repeat("x", 17<<10) + `"}`, good[:len(good)-1] + `,"until":"tomorrow"}`,
	} {
		r, p := answered(t, x, "key_good", bad, "")
		if p.Status < 400 || p.Status >= 500 || p.Detail == "" || r.ID != "" {
			t.Errorf("%.80s: %+v %+v", bad, r, p)
		}
		if strings.Contains(p.Detail, "eyJ") {
			t.Errorf("what was sent is repeated: %s", p.Detail)
		}
	}
	if len(c.taken) != 0 {
		t.Errorf("taken: %+v", c.taken)
	}
}

// I1
func TestWrongMembersAreNamed(t *testing.T) {
	for body, want := range map[string]string{
		`{"target":"everyone"}`: `target: expected value to be one of "jti,`, `{"target":"jti","issuer":"i","value":5}`: "value: expected string", good[:len(good)-1] + `,"color":"red"}`: "color: unexpected",
		good[:len(good)-1] + `,"not_before":"yesterday"}`: "not_before: expected", good[:len(good)-1] + `,"and":{}}`: "and: expected array",
		good[:len(good)-1] + `,"and":[{"target":"everyone"}]}`: "and[0].target: expected value to be one of", `{"` + strings.Repeat("k", 33) + `":1}`: "this is not",
		good[:len(good)-1] + `,"and":[{}]}`: "and[0]: expected required property target", good[:len(good)-1] + `,"and":[{"target":"client"}]}`: "and[0]: expected required property value",
		`{"target":"jti","issuer":"i","value":1e999}`: "value: number is too large", `{"a b":1e999}`: "number is too large",
		`{"a b":1}`: "this is not", `{"":1}`: "this is not", `{"a/b":1}`: "this is not", `[]`: "this is not",
		`{"token":"` + strings.Repeat("x", 17<<10) + `"}`: "token: at most 16384 bytes", `{"and":[` + strings.Repeat(`{"target":"client"},`, 3) + `{"target":"client"}]}`: "and: at most 3",
	} {
		if _, err := intake.Parse([]byte(body)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", body, err, want)
		}
	}
}

// I1
func FuzzParse(f *testing.F) {
	for _, seed := range []string{good, `{"token":"x"}`, `{"target":"subject","issuer":"i","value":"x","and":[{"target":"client","value":"a"}],"not_before":"2026-01-01T00:00:00Z"}`, `{`, "\xff"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := intake.Parse(text)
		if err != nil {
			if p, known := httpapi.ProblemOf(err); !known || p.Status < 400 || p.Status >= 500 {
				t.Errorf("%v is not for whoever asks", err)
			}
			return
		}
		// What was understood is the same when it is written down and read again: then it can be
		// summed up.
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if len(again) > record.MaxRevocationText {
			return // escapes made it longer
		}
		back, err := intake.Parse(again)
		if err != nil {
			t.Fatalf("%s: %v", again, err)
		}
		a, errA := intake.RequestOf("k", r, record.KindRevoke)
		b, errB := intake.RequestOf("k", back, record.KindRevoke)
		if errA != nil || errB != nil || a != b {
			t.Errorf("%s and %s differ: %v %v", text, again, errA, errB)
		}
	})
}

// I2
func TestBoundKeys(t *testing.T) {
	x, c := open(t)
	for _, row := range []struct {
		body string
		may  bool
	}{
		{good, true},
		{`{"target":"subject","issuer":"` + ours + `","value":"a"}`, true},
		{`{"target":"subject","issuer":"` + ours + `","value":"a","and":[{"target":"client","value":"b"}]}`, true},
		{`{"target":"issuer","issuer":"` + ours + `"}`, true},
		{`{"token":"of ` + ours + `"}`, true},
		{`{"target":"jti","issuer":"` + theirs + `","value":"a"}`, false},
		{`{"target":"jti","issuer":"` + ours + `/","value":"a"}`, false},
		{`{"target":"issuer","issuer":"` + theirs + `"}`, false},
		{`{"token":"of ` + theirs + `"}`, false},
		{`{"target":"key","value":"key_good"}`, false},
		{`{"target":"consumer","value":"shop"}`, false},
	} {
		c.taken = nil
		r, p := answered(t, x, "key_bound", row.body, "")
		if row.may != (r.Revision == 7 && len(c.taken) == 1) || !row.may && (p.Status != 403 || p.Code != "forbidden" || len(c.taken) != 0) {
			t.Errorf("%s: %+v %+v", row.body, r, p)
		}
		if r, _ := answered(t, x, "key_good", row.body, ""); r.Revision != 7 {
			t.Errorf("not bound, and %s is refused", row.body)
		}
	}
	revoker, admin := []record.Role{record.RoleRevoker}, []record.Role{record.RoleRevoker, record.RoleAdmin}
	for _, k := range []record.APIKey{
		{Roles: admin, Issuers: []string{ours}},
		{Roles: []record.Role{record.RoleAuditor}, Issuers: []string{ours}},
		{Consumer: "shop", Issuers: []string{ours}},
		{Roles: revoker, Issuers: []string{""}},
	} {
		k.ID, k.Hash = "key_1", record.KeyHash{1}
		if k.Check() == nil {
			t.Errorf("%+v can be made", k)
		}
	}
}

// I2
func TestBoundToConsumersAndTargets(t *testing.T) {
	x, c := open(t)
	for body, may := range map[string]string{ // the keys that may
		`{"target":"jti","issuer":"` + ours + `","value":"a"}`:                                             "both tokens",
		`{"target":"jti","issuer":"` + theirs + `","value":"a"}`:                                           "tokens",
		`{"token":"of ` + ours + `"}`:                                                                      "both tokens",
		`{"target":"subject","issuer":"` + ours + `","value":"a"}`:                                         "both tokens",
		`{"target":"subject","issuer":"` + ours + `","value":"a","and":[{"target":"client","value":"b"}]}`: "both",
		`{"target":"issuer","issuer":"` + ours + `"}`:                                                      "both",
		`{"target":"consumer","value":"shop"}`:                                                             "shop both",
		`{"target":"consumer","value":"till"}`:                                                             "",
		`{"target":"key","value":"key_consumer"}`:                                                          "shop both narrow",
		`{"target":"key","value":"key_other"}`:                                                             "",
		`{"target":"key","value":"key_admin"}`:                                                             "",
		`{"target":"key","value":"key_nobody"}`:                                                            "",
	} {
		for _, key := range []string{"shop", "both", "tokens", "narrow"} {
			c.taken = nil
			r, p := answered(t, x, "key_"+key, body, "")
			want := slices.Contains(strings.Fields(may), key)
			if want != (r.Revision == 7 && len(c.taken) == 1) || !want && (p.Status != 403 || p.Code != "forbidden" || len(c.taken) != 0) {
				t.Errorf("%s, %s: %+v %+v", key, body, r, p)
			}
		}
	}
	revoker := []record.Role{record.RoleRevoker}
	for _, k := range []record.APIKey{
		{Roles: []record.Role{record.RoleRevoker, record.RoleAdmin}, Consumers: []string{"shop"}},
		{Roles: []record.Role{record.RoleAdmin}, Targets: []string{"jti"}},
		{Roles: []record.Role{record.RoleAuditor}, Consumers: []string{"shop"}},
		{Consumer: "shop", Targets: []string{"jti"}},
		{Roles: revoker, Consumers: []string{"Shop"}},
		{Roles: revoker, Consumers: []string{"shop", "shop"}},
		{Roles: revoker, Targets: []string{"unknown"}},
		{Roles: revoker, Targets: []string{""}},
		{Roles: revoker, Targets: []string{"jti", "jti"}},
	} {
		k.ID, k.Hash = "key_1", record.KeyHash{1}
		if k.Check() == nil {
			t.Errorf("%+v can be made", k)
		}
	}
}

// I3
func TestAuthority(t *testing.T) {
	x, c := open(t)
	for key, want := range map[string]string{
		"key_good": "", "key_admin": "", "key_young": "", "key_bound": "", "key_late": "",
		"key_reader": "forbidden", "key_consumer": "forbidden", "key_off": "key_disabled", "key_old": "key_expired", "key_revoked": "revoked", "key_none": "key_not_found", "": "key_not_found",
	} {
		c.taken = nil
		r, p := answered(t, x, key, good, "")
		if p.Code != want || (want == "") != (len(c.taken) == 1 && c.taken[0].By == key && r.State == record.StateCommitted) {
			t.Errorf("%s: %q, want %q; %+v", key, p.Code, want, c.taken)
		}
	}
	c.fail = errors.New("open /data/secret: no such file")
	answer, unknown := x.Answer(t.Context(), "key_good", []byte(good), "", record.Origin{}, time.Second)
	if !errors.Is(unknown, c.fail) || strings.Contains(string(answer), "/data") {
		t.Errorf("%s %v", answer, unknown)
	}
}

// I4
func TestRequestsHaveSums(t *testing.T) {
	x, c := open(t)
	answered(t, x, "key_good", good, "k")
	answered(t, x, "key_good", `{ "value" : "a", "issuer":"`+ours+`", "target":"jti" }`, "k")
	answered(t, x, "key_good", `{"target":"jti","issuer":"`+ours+`","value":"b"}`, "k")
	answered(t, x, "key_good", good, "")
	if c.taken[0].Request != c.taken[1].Request || c.taken[0].Request.Key != "k" {
		t.Errorf("the same in another form: %+v %+v", c.taken[0].Request, c.taken[1].Request)
	}
	if c.taken[2].Request.Sum == c.taken[0].Request.Sum || c.taken[3].Request != (record.Request{}) {
		t.Errorf("%+v", c.taken)
	}
	if _, p := answered(t, x, "key_good", good, strings.Repeat("x", 256)); p.Status != 422 {
		t.Errorf("%+v", p)
	}
}

// I6
func TestReceipts(t *testing.T) {
	x, c := open(t)
	for name, one := range map[string]struct {
		pending, untold, lifted bool
		want                    record.Receipt
	}{
		"committed": {want: record.Receipt{Revision: 7, State: record.StateCommitted, KeptUntil: now.Add(time.Hour)}},
		"pending":   {pending: true, want: record.Receipt{State: record.StatePending, DurableOn: []string{"n1"}}},
		"untold":    {untold: true, want: record.Receipt{Revision: 5, State: record.StateCommitted, NotBefore: now, KeptUntil: now.Add(2 * time.Hour)}},
	} {
		c.pending, c.untold, c.lifted = one.pending, one.untold, one.lifted
		got, problem := answered(t, x, "key_good", good, "")
		one.want.ID, one.want.EnforcedOn, one.want.PendingOn = got.ID, []string{"n1"}, []string{"n2"}
		if diff := cmp.Diff(one.want, got); diff != "" {
			t.Errorf("%s: %+v\n%s", name, problem, diff)
		}
	}
	c.pending, c.untold, c.lifted = false, true, true
	if got, problem := answered(t, x, "key_good", good, "again"); problem.Status != http.StatusConflict {
		t.Errorf("asked for again after it was lifted: %+v, %+v", got, problem)
	}
	c.lifted = false
	// This node has not reached the revision by the end of the context.
	ended, end := context.WithCancel(t.Context())
	end()
	if r, err := x.Receipt(ended, record.Revocation{}, record.Accepted{Revision: 9}, false); err != nil || r.State != record.StatePending || r.Revision != 0 {
		t.Errorf("not here yet: %+v, %v", r, err)
	}
}

// I7
func TestNewSigningKeyIsWaitedFor(t *testing.T) {
	x, c := open(t)
	if _, problem := answered(t, x, "key_good", `{"token":"new key of `+ours+`"}`, ""); problem.Code != "" || len(c.taken) != 1 {
		t.Errorf("%+v, %d taken", problem, len(c.taken))
	}
	if _, problem := answered(t, x, "key_good", `{"token":"unknown key of `+ours+`"}`, ""); problem.Code != string(validate.UnknownSigningKey) || len(c.taken) != 1 {
		t.Errorf("%+v, %d taken", problem, len(c.taken))
	}
}
