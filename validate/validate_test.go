package validate_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"veto/record"
	"veto/validate"
)

var now = time.Unix(1_800_000_000, 0)

// view is what a node knows, and notes the order of the questions.
type view struct {
	fresh   record.Freshness
	revoked map[record.Digest]int64 // cut-off
	// consumers are all there are; if it is nil, there is every one.
	consumers map[string]*record.Consumer
	asked     []string
}

func (v *view) Freshness() record.Freshness {
	v.asked = append(v.asked, "freshness")
	return v.fresh
}

func (v *view) Revoked(n record.Name, issuedAt int64) (record.Revocation, bool) {
	v.asked = append(v.asked, n.Target.String())
	cutoff, ok := v.revoked[digestKey.Digest(n)]
	return record.Revocation{Name: n, Reason: "why", Revision: 7}, ok && issuedAt <= cutoff
}

var digestKey record.DigestKey

func (v *view) Digest(n record.Name) record.Digest { return digestKey.Digest(n) }

func (v *view) FirstDenied(all []record.Digest, issuedAt int64) int {
	for i, d := range all {
		v.asked = append(v.asked, "denied")
		if cutoff, ok := v.revoked[d]; ok && issuedAt <= cutoff {
			return i
		}
	}
	return -1
}

func (v *view) AnsweredBy(record.Digest, int64) string { return "the test" }

func (v *view) InUse() record.ClassSet {
	v.asked = append(v.asked, "in use")
	var s record.ClassSet
	for d := range v.revoked {
		s = s.With(d.Class())
	}
	return s
}

// revoked is one revocation.
func revoked(n record.Name, cutoff int64) map[record.Digest]int64 {
	return map[record.Digest]int64{digestKey.Digest(n): cutoff}
}

func (v *view) Consumer(id string) (*record.Consumer, bool) {
	if v.consumers == nil {
		return &record.Consumer{ID: id}, true
	}
	c, ok := v.consumers[id]
	return c, ok
}

type verifier struct {
	claims *validate.Claims
	code   validate.Code
}

func (v verifier) Verify(string, time.Time, *validate.Claims) (*validate.Claims, validate.Code) {
	return v.claims, v.code
}

func (v verifier) Explain(_ string, _ time.Time, trail *validate.Trail) (*validate.Claims, validate.Code) {
	trail.Tell("verifier", v.code, "")
	return v.claims, v.code
}

func (v verifier) Inspect(string, time.Time) (*validate.Claims, validate.Code) {
	return v.claims, v.code
}

func jwtClaims() *validate.Claims {
	return &validate.Claims{
		Kind: validate.JWT, Issuer: "i", Subject: "sub", Client: "app", Session: "sid", JTI: "jti", TokenHash: [32]byte{1}, KID: "kid",
		Audience: []string{"a"}, Scopes: []string{"read"}, IssuedAt: 100,
	}
}

func key() *validate.Claims {
	return &validate.Claims{Kind: validate.APIKey, Key: &record.APIKey{ID: "k", Consumer: "c"}, IssuedAt: 100}
}

var fresh = record.Freshness{Ready: true, Revision: 10, AsOf: now}

func ask(v *view, claims *validate.Claims, code validate.Code, r validate.Request) validate.Verdict {
	x := validate.New(v, validate.Policy{MaxStaleness: 30 * time.Second}, verifier{claims, code}, verifier{claims, code}, nil)
	if r.Credential == "" {
		r.Credential = "a.b.c"
	}
	return x.Validate(r, now)
}

// V1
func TestRevokedByEveryTarget(t *testing.T) {
	for _, n := range []record.Name{
		{Target: record.TargetJTI, Issuer: "i", Value: "jti"},
		jwtClaims().TokenName(),
		{Target: record.TargetSubject, Issuer: "i", Value: "sub"},
		{Target: record.TargetClient, Issuer: "i", Value: "app"},
		{Target: record.TargetSession, Issuer: "i", Value: "sid"},
		{Target: record.TargetSigningKey, Issuer: "i", Value: "kid"},
		{Target: record.TargetIssuer, Issuer: "i"},
		{Target: record.TargetKey, Value: "k"},
		{Target: record.TargetConsumer, Value: "c"},
	} {
		claims := jwtClaims()
		if !n.Target.OfIssuer() {
			claims = key()
		}
		for name, f := range map[string]record.Freshness{"fresh": fresh, "stale": {Ready: true, Revision: 10}, "not ready": {}} {
			v := &view{fresh: f, revoked: revoked(n, record.DeniesAll)}
			got := ask(v, claims, validate.OK, validate.Request{Audience: "another", Scopes: []string{"more"}})
			if got.Outcome != validate.Deny || got.Code != validate.Revoked || got.Revocation == nil || got.Revocation.Target != n.Target || got.Revocation.Reason != "why" {
				t.Errorf("%s, %s: %+v", n.Target, name, got)
			}
		}
		v := &view{fresh: fresh, revoked: revoked(n, 99)}
		if got := ask(v, claims, validate.OK, validate.Request{}); got.Outcome != validate.Allow {
			t.Errorf("%s, issued after the cut-off: %+v", n.Target, got)
		}
	}
}

// V1: a combination denies what bears all of its parts, also what was remembered before.
func TestRevokedByCombination(t *testing.T) {
	both := record.Name{Target: record.TargetSubject, Issuer: "i", Value: "sub", And: []record.Part{{Target: record.TargetClient, Value: "app"}}}
	claims := jwtClaims()
	claims.Remembered = true
	v := &view{fresh: fresh}
	x := validate.New(v, validate.Policy{MaxStaleness: 30 * time.Second}, verifier{claims, validate.OK}, verifier{}, nil)
	if got := x.Validate(validate.Request{Credential: "a.b.c"}, now); got.Outcome != validate.Allow {
		t.Fatalf("before: %+v", got)
	}
	v.revoked = revoked(both, record.DeniesAll)
	if got := x.Validate(validate.Request{Credential: "a.b.c"}, now); got.Code != validate.Revoked || got.Revocation.ID != digestKey.Digest(both).RevocationID() {
		t.Errorf("after: %+v", got)
	}
	for name, change := range map[string]func(*validate.Claims){
		"another client":  func(c *validate.Claims) { c.Client = "other" },
		"no client":       func(c *validate.Claims) { c.Client = "" },
		"another subject": func(c *validate.Claims) { c.Subject = "other" },
		"another issuer":  func(c *validate.Claims) { c.Issuer = "other" },
		"a later token":   func(c *validate.Claims) { c.IssuedAt = 101 },
	} {
		claims := jwtClaims()
		change(claims)
		v := &view{fresh: fresh, revoked: revoked(both, 100)}
		if got := ask(v, claims, validate.OK, validate.Request{}); got.Outcome != validate.Allow {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// V1
func TestRevokedActorDenies(t *testing.T) {
	for _, n := range []record.Name{
		{Target: record.TargetSubject, Issuer: "i", Value: "assistant"},
		{Target: record.TargetClient, Issuer: "other", Value: "tool"},
	} {
		claims := jwtClaims()
		claims.Actors = []validate.Actor{{Issuer: "i", Subject: "assistant"}, {Issuer: "other", Client: "tool"}}
		if got := ask(&view{fresh: fresh, revoked: revoked(n, 100)}, claims, validate.OK, validate.Request{}); got.Code != validate.Revoked {
			t.Errorf("%+v: %+v", n, got)
		}
	}
}

// V2
func TestFreshness(t *testing.T) {
	stale := record.Freshness{Ready: true, Revision: 10, AsOf: now.Add(-31 * time.Second)}
	for name, c := range map[string]struct {
		fresh record.Freshness
		code  validate.Code
		min   record.Revision
		want  validate.Code
	}{
		"good":                          {fresh, validate.OK, 10, validate.OK},
		"behind":                        {fresh, validate.OK, 11, validate.BehindMinRevision},
		"not ready":                     {record.Freshness{Revision: 10, AsOf: now}, validate.OK, 0, validate.NotReady},
		"stale":                         {stale, validate.OK, 0, validate.Stale},
		"never heard":                   {record.Freshness{Ready: true}, validate.OK, 0, validate.Stale},
		"unknown issuer":                {fresh, validate.UnknownIssuer, 0, validate.UnknownIssuer},
		"unknown issuer while stale":    {stale, validate.UnknownIssuer, 0, validate.Stale},
		"unknown issuer while behind":   {fresh, validate.UnknownIssuer, 11, validate.BehindMinRevision},
		"key not found while not ready": {record.Freshness{}, validate.KeyNotFound, 0, validate.NotReady},
		"malformed token while stale":   {stale, validate.Malformed, 0, validate.Malformed},
		"other rules while stale":       {stale, validate.WrongAudience, 0, validate.Stale},
		"expired while stale":           {stale, validate.Expired, 0, validate.Expired},
		"bad signature while stale":     {stale, validate.BadSignature, 0, validate.BadSignature},
	} {
		claims := jwtClaims()
		if c.code != validate.OK {
			claims = nil
		}
		got := ask(&view{fresh: c.fresh}, claims, c.code, validate.Request{MinRevision: c.min})
		if got.Code != c.want || got.Outcome != c.want.Outcome() {
			t.Errorf("%s: %s %s, want %s", name, got.Outcome, got.Code, c.want)
		}
		if got.Outcome == validate.Unknown && got.Subject != "" {
			t.Errorf("%s: undecided, yet described", name)
		}
	}
	// What has not the form of a key may be one that was imported a moment ago.
	for min, want := range map[record.Revision]validate.Code{0: validate.Malformed, 11: validate.BehindMinRevision} {
		keys := validate.New(&view{fresh: fresh}, validate.Policy{MaxStaleness: 30 * time.Second}, nil, verifier{nil, validate.Malformed}, nil)
		if got := keys.Validate(validate.Request{Credential: "a key", MinRevision: min}, now); got.Code != want {
			t.Errorf("a malformed key, revision %d wanted: %s, want %s", min, got.Code, want)
		}
	}
	serving := validate.New(&view{fresh: stale}, validate.Policy{ServeStale: true}, verifier{jwtClaims(), validate.OK}, nil, nil)
	if got := serving.Validate(validate.Request{Credential: "a.b.c"}, now); got.Outcome != validate.Allow || !got.AsOf.Equal(stale.AsOf) {
		t.Errorf("serving stale: %+v", got)
	}
}

// V3
func TestFreshnessIsReadFirst(t *testing.T) {
	v := &view{fresh: fresh, revoked: revoked(record.Name{Target: record.TargetJTI, Issuer: "i", Value: "another"}, record.DeniesAll)}
	ask(v, jwtClaims(), validate.OK, validate.Request{})
	if len(v.asked) < 3 || v.asked[0] != "freshness" || v.asked[1] != "in use" || v.asked[2] != "denied" {
		t.Errorf("asked in the order %v", v.asked)
	}
}

func TestRequestsWishes(t *testing.T) {
	for want, r := range map[validate.Code]validate.Request{
		validate.OK:                {Audience: "a", Scopes: []string{"read"}},
		validate.WrongAudience:     {Audience: "b"},
		validate.InsufficientScope: {Scopes: []string{"read", "write"}},
		validate.TooLarge:          {Credential: strings.Repeat("a.", validate.MaxCredential)},
	} {
		if got := ask(&view{fresh: fresh}, jwtClaims(), validate.OK, r); got.Code != want {
			t.Errorf("%s, want %s", got.Code, want)
		}
	}
}

func TestOperator(t *testing.T) {
	operator := &validate.Claims{Kind: validate.APIKey, Key: &record.APIKey{ID: "k", Roles: []record.Role{record.RoleAdmin}}}
	stale := record.Freshness{Ready: true, AsOf: now.Add(-time.Hour)}
	for name, c := range map[string]struct {
		view   view
		claims *validate.Claims
		code   validate.Code
		ok     bool
	}{
		"good":      {view{fresh: fresh}, operator, validate.OK, true},
		"cut off":   {view{fresh: stale}, operator, validate.OK, true},
		"not ready": {view{}, operator, validate.OK, false},
		"no roles":  {view{fresh: fresh}, key(), validate.OK, false},
		"disabled":  {view{fresh: fresh}, nil, validate.KeyDisabled, false},
		"revoked":   {view{fresh: fresh, revoked: revoked(record.Name{Target: record.TargetKey, Value: "k"}, record.DeniesAll)}, operator, validate.OK, false},
	} {
		x := validate.New(&c.view, validate.Policy{MaxStaleness: time.Second}, nil, verifier{c.claims, c.code}, nil)
		if k, v := x.Operator("secret", now); (k != nil) != c.ok {
			t.Errorf("%s: %v %+v", name, k, v)
		}
		if k, v := x.Denier("secret", now); (k != nil) != (c.ok || name == "not ready") {
			t.Errorf("%s, as a denier: %v %+v", name, k, v)
		}
	}
}

func TestDisabledConsumer(t *testing.T) {
	owner := map[string]*record.Consumer{"c": {ID: "c", Disabled: true}}
	if got := ask(&view{fresh: fresh, consumers: owner}, key(), validate.OK, validate.Request{}); got.Code != validate.ConsumerDisabled || got.Consumer != "c" {
		t.Errorf("%+v", got)
	}
	stale := record.Freshness{Ready: true, AsOf: now.Add(-time.Hour)}
	if got := ask(&view{fresh: stale, consumers: owner}, key(), validate.OK, validate.Request{}); got.Code != validate.Stale {
		t.Errorf("it may be enabled again: %+v", got)
	}
	own := revoked(record.Name{Target: record.TargetKey, Value: "k"}, record.DeniesAll)
	if got := ask(&view{fresh: fresh, consumers: owner, revoked: own}, key(), validate.OK, validate.Request{}); got.Code != validate.Revoked {
		t.Errorf("%+v", got)
	}
}

// V10
func TestScopes(t *testing.T) {
	for _, c := range []struct {
		held, wanted, missing []string
	}{
		{nil, nil, nil},
		{[]string{"orders:read"}, []string{"orders:read"}, nil},
		{[]string{"orders:read"}, []string{"orders:write", "orders:read", "stock:read"}, []string{"orders:write", "stock:read"}},
		{[]string{"orders:*"}, []string{"orders:read", "orders:read:own", "orders:*"}, nil},
		{[]string{"orders:*"}, []string{"orders", "orders:", "orders-old:read", "order:read", "Orders:read"}, []string{"orders", "orders:", "orders-old:read", "order:read", "Orders:read"}},
		{[]string{"orders:read:*"}, []string{"orders:read", "orders:read:own", "orders:write:own"}, []string{"orders:read", "orders:write:own"}},
		{[]string{"*"}, []string{"orders:read", "x"}, nil},
		{[]string{"orders*"}, []string{"orders:read"}, []string{"orders:read"}},
		{[]string{"orders:read"}, []string{"orders:*"}, []string{"orders:*"}},
	} {
		k := key()
		k.Scopes = c.held
		want := validate.OK
		if c.missing != nil {
			want = validate.InsufficientScope
		}
		got := ask(&view{fresh: fresh}, k, validate.OK, validate.Request{Scopes: c.wanted})
		if got.Code != want || !slices.Equal(got.MissingScopes, c.missing) {
			t.Errorf("%q of %q: %s, missing %q, want %s, %q", c.wanted, c.held, got.Code, got.MissingScopes, want, c.missing)
		}
	}
	token := jwtClaims()
	token.Scopes = []string{"orders:*"}
	if got := ask(&view{fresh: fresh}, token, validate.OK, validate.Request{Scopes: []string{"orders:read"}}); got.Code != validate.InsufficientScope {
		t.Errorf("a token's scope was taken for a wildcard: %+v", got)
	}
}

// V10
func TestWildcardsCoverWholeSegments(t *testing.T) {
	segment := rapid.SampledFrom([]string{"a", "b", "ab", "", "*"})
	rapid.Check(t, func(t *rapid.T) {
		held := rapid.SliceOfN(segment, 1, 3).Draw(t, "held")
		wanted := rapid.SliceOfN(segment, 1, 4).Draw(t, "wanted")
		n := len(held) - 1
		want := slices.Equal(held, wanted) || held[n] == "*" && len(wanted) > n && slices.Equal(held[:n], wanted[:n]) && strings.Join(wanted[n:], ":") != ""
		k := key()
		k.Scopes = []string{strings.Join(held, ":")}
		got := ask(&view{fresh: fresh}, k, validate.OK, validate.Request{Scopes: []string{strings.Join(wanted, ":")}})
		if (got.Code == validate.OK) != want {
			t.Fatalf("%q of %q: %s", wanted, held, got.Code)
		}
	})
}

// V9
func TestOperatorsKeyIsNoCredential(t *testing.T) {
	operator := &validate.Claims{Kind: validate.APIKey, Key: &record.APIKey{ID: "k", Roles: []record.Role{record.RoleAdmin}}}
	x := validate.New(&view{fresh: fresh}, validate.Policy{MaxStaleness: time.Minute}, nil, verifier{operator, validate.OK}, nil)
	for name, v := range map[string]validate.Verdict{
		"validate": x.Validate(validate.Request{Credential: "secret"}, now), "explain": x.Explain(validate.Request{Credential: "secret"}, now),
	} {
		if v.Outcome != validate.Deny || v.Code != validate.KeyNotFound || v.KeyID != "" {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

// V9: nor is a token that is for operators alone.
func TestOperatorsTokenIsNoCredential(t *testing.T) {
	rules := &record.Issuer{ID: "corp", Operators: &record.Operators{Audience: "veto"}}
	named := *rules
	named.Audiences = []string{"veto"}
	for name, c := range map[string]struct {
		rules    *record.Issuer
		audience []string
		asked    string
		want     validate.Code
	}{
		"for Veto alone":                  {rules, []string{"veto"}, "", validate.WrongAudience},
		"for another as well":             {rules, []string{"veto", "api"}, "", validate.OK},
		"for nobody":                      {rules, nil, "", validate.OK},
		"asked for by name":               {rules, []string{"veto"}, "veto", validate.OK},
		"asked for by another":            {rules, []string{"veto"}, "api", validate.WrongAudience},
		"named by the issuer's audiences": {&named, []string{"veto"}, "", validate.OK},
		"of an issuer without operators":  {&record.Issuer{ID: "corp"}, []string{"veto"}, "", validate.OK},
	} {
		claims := &validate.Claims{Kind: validate.JWT, Issuer: "iss", Subject: "ann", Audience: c.audience, Rules: c.rules, IssuedAt: now.Unix(), ExpiresAt: now.Add(time.Hour)}
		x := validate.New(&view{fresh: fresh}, validate.Policy{MaxStaleness: time.Minute}, verifier{claims, validate.OK}, nil, nil)
		r := validate.Request{Credential: "a.b.c", Audience: c.asked}
		for _, v := range []validate.Verdict{x.Validate(r, now), x.Explain(r, now)} {
			if v.Code != c.want || v.Outcome != c.want.Outcome() {
				t.Errorf("%s: %+v", name, v)
			}
		}
		if _, v := x.Person("a.b.c", now); v.Code != validate.OK {
			t.Errorf("%s: on the control plane: %+v", name, v)
		}
	}
}

// V11
func TestOnlyWhatIsAllowedIsUsed(t *testing.T) {
	for name, c := range map[string]struct {
		roles    []record.Role
		request  validate.Request
		operator bool
		want     bool
	}{
		"allowed":                  {want: true},
		"not in scope":             {request: validate.Request{Scopes: []string{"write"}}},
		"an operator's":            {roles: []record.Role{record.RoleAdmin}, operator: true, want: true},
		"an operator's, as any":    {roles: []record.Role{record.RoleAdmin}},
		"any, where operators' go": {operator: true},
	} {
		uses := new(record.Use).Now()
		claims := &validate.Claims{Kind: validate.APIKey, Key: &record.APIKey{ID: "k", Roles: c.roles, Uses: uses}}
		x := validate.New(&view{fresh: fresh}, validate.Policy{MaxStaleness: time.Minute}, nil, verifier{claims, validate.OK}, nil)
		c.request.Credential = "secret"
		if c.operator {
			x.Operator("secret", now)
		} else {
			x.Explain(c.request, now)
			x.Validate(c.request, now)
		}
		if at, _, used := uses.Untold(); used != c.want || used && at != record.MinuteOf(now) {
			t.Errorf("%s: used at %d", name, at)
		}
	}
}

// V5
func TestZeroVerdict(t *testing.T) {
	var v validate.Verdict
	if v.Outcome != validate.Unknown || v.Outcome.String() != "unknown" || v.Code.Outcome() != validate.Unknown || validate.Outcome(9).String() != "unknown" {
		t.Errorf("%+v", v)
	}
}

// V4
func TestOnlyVerifiersMakeClaims(t *testing.T) {
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		dir := filepath.Base(filepath.Dir(path))
		f, err := parser.ParseFile(fileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			literal, ok := n.(*ast.CompositeLit)
			if !ok {
				return true
			}
			if s, ok := literal.Type.(*ast.SelectorExpr); ok && s.Sel.Name == "Claims" && dir != "jwt" && dir != "apikey" {
				t.Errorf("%s makes Claims", path)
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func fileSet() *token.FileSet { return token.NewFileSet() }

// V6
func TestExplainSaysWhatValidateSays(t *testing.T) {
	key := key()
	for name, c := range map[string]struct {
		view    view
		claims  *validate.Claims
		code    validate.Code
		request validate.Request
		fails   string
	}{
		"good":       {view{fresh: fresh}, jwtClaims(), validate.OK, validate.Request{}, ""},
		"key":        {view{fresh: fresh}, key, validate.OK, validate.Request{Credential: "veto_x"}, ""},
		"refused":    {view{fresh: fresh}, nil, validate.Expired, validate.Request{}, "verifier"},
		"revoked":    {view{fresh: fresh, revoked: revoked(record.Name{Target: record.TargetClient, Issuer: "i", Value: "app"}, 100)}, jwtClaims(), validate.OK, validate.Request{}, "revoked_client"},
		"stale":      {view{fresh: record.Freshness{Ready: true}}, jwtClaims(), validate.OK, validate.Request{}, "freshness"},
		"behind":     {view{fresh: fresh}, jwtClaims(), validate.OK, validate.Request{MinRevision: 11}, "freshness"},
		"audience":   {view{fresh: fresh}, jwtClaims(), validate.OK, validate.Request{Audience: "x"}, "wanted_audience"},
		"scopes":     {view{fresh: fresh}, jwtClaims(), validate.OK, validate.Request{Scopes: []string{"x"}}, "wanted_scopes"},
		"over limit": {view{fresh: fresh}, nil, validate.OK, validate.Request{Credential: strings.Repeat("a", validate.MaxCredential+1)}, "size"},
	} {
		if c.request.Credential == "" {
			c.request.Credential = "a.b.c"
		}
		x := validate.New(&c.view, validate.Policy{MaxStaleness: time.Second}, verifier{c.claims, c.code}, verifier{c.claims, c.code}, nil)
		want, got := x.Validate(c.request, now), x.Explain(c.request, now)
		failed := ""
		for _, check := range got.Checks {
			if check.Result == "fail" && failed == "" {
				failed = check.Check
			}
			if strings.HasPrefix(check.Check, "revoked_") && !strings.HasSuffix(check.Detail, "(the test)") {
				t.Errorf("%s: %s does not say by what means: %s", name, check.Check, check.Detail)
			}
		}
		if failed != c.fails || got.Code != want.Code || got.Outcome != want.Outcome || got.Subject != want.Subject || want.Checks != nil {
			t.Errorf("%s: %s at %q; Validate says %s", name, got.Code, failed, want.Code)
		}
	}
}
