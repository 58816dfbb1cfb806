package node

import (
	"crypto"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"veto/record"
	"veto/test/ports"
	"veto/test/token"
	"veto/validate"
	"veto/validate/keyset"
)

// TestRevokedForever (P12): whatever its issuer's rules were, are and become, however clocks
// differ, and whatever has expired meanwhile: a token that was revoked is never allowed again.
func TestRevokedForever(t *testing.T) {
	w := newWorld(t)
	rapid.Check(t, func(rt *rapid.T) {
		w.begin(rt)
		for range rapid.IntRange(5, 30).Draw(rt, "steps") {
			w.step()
			w.check()
		}
	})
	if w.allowed == 0 || w.expired == 0 || w.revoked == 0 {
		t.Errorf("nothing was shown: %d tokens allowed before they were revoked, %d revoked, %d revocations expired", w.allowed, w.revoked, w.expired)
	}
}

// clockSkew is by how much a node's clock may differ from the majority's: over half an hour is
// an error that is logged.
const clockSkew = 30 * time.Minute

// world is a node alone whose clock the test sets, and what was done in one check.
type world struct {
	t    *testing.T
	node *Node
	now  atomic.Int64 // in seconds
	key  ed25519.PrivateKey
	jwks []record.SigningKey

	allowed, revoked, expired int
	issuers                   int

	rt     *rapid.T
	issuer record.Issuer
	tokens []*issued
}

// issued is a token that was made, by whom it says.
type issued struct {
	text    string
	claims  map[string]any
	iat     int64
	revoked string // how
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t}
	w.now.Store(1_800_000_000)
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	w.key = key
	set, err := keyset.PublicJWKS(map[string]crypto.PublicKey{"k": key.Public()})
	if err != nil {
		t.Fatal(err)
	}
	if w.jwks, err = keyset.Parse(set, nil); err != nil {
		t.Fatal(err)
	}
	c := DefaultConfig()
	c.DataDir, c.NodeID, c.Port, c.ServeStale = t.TempDir(), "n1", ports.Take(t), true
	w.node, err = Start(c, Surroundings{
		Version: "test", Now: w.time, Log: slog.New(slog.DiscardHandler), AdminToken: func(string) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.node.Close() })
	for !w.node.view.Freshness().Ready {
		select {
		case err := <-w.node.Failed():
			t.Fatal(err)
		case <-time.After(5 * time.Millisecond):
		}
	}
	return w
}

func (w *world) time() time.Time { return time.Unix(w.now.Load(), 0) }

func (w *world) propose(body record.Body) {
	if _, err := w.node.replica.Propose(w.t.Context(), record.Command{Body: body}); err != nil {
		w.rt.Fatal(err)
	}
}

// begin trusts an issuer of its own, so that checks do not meet.
func (w *world) begin(rt *rapid.T) {
	w.rt, w.tokens = rt, nil
	w.issuers++
	w.issuer = record.Issuer{ID: fmt.Sprintf("i%d", w.issuers), Issuer: fmt.Sprintf("https://issuer.example/%d", w.issuers), JWKS: []byte(`{}`), Algorithms: []string{"EdDSA"}}
	w.putIssuer()
}

func (w *world) putIssuer() {
	lifetime := rapid.SampledFrom([]time.Duration{time.Minute, time.Hour, 24 * time.Hour, 30 * 24 * time.Hour}).Draw(w.rt, "max lifetime")
	w.issuer.MaxLifetime = record.Duration(lifetime)
	w.issuer.Leeway = record.Duration(rapid.SampledFrom([]time.Duration{0, time.Second, 5 * time.Minute}).Draw(w.rt, "leeway"))
	w.issuer.AllowNoExpiry = rapid.Bool().Draw(w.rt, "allow no exp")
	w.propose(record.PutIssuer{Issuer: w.issuer, Keys: w.jwks})
	for _, i := range w.node.view.Issuers() {
		if i.ID == w.issuer.ID {
			w.issuer.Leeway = i.Leeway
		}
	}
}

func (w *world) step() {
	switch rapid.IntRange(0, 9).Draw(w.rt, "step") {
	case 0, 1, 2:
		w.issue()
	case 3, 4:
		w.revokeOne()
	case 5:
		w.putIssuer()
	case 6:
		w.propose(record.DeleteIssuer{ID: w.issuer.ID})
		w.putIssuer()
	case 7:
		w.nearlyExpire()
	case 8:
		hours := rapid.SampledFrom([]float64{0.01, 0.5, 1, 5, 26, 100, 800}).Draw(w.rt, "hours pass")
		w.now.Add(int64(hours * 3600))
	case 9:
		w.expire()
	}
}

// nearlyExpire lets time pass until a token is about to expire: then its revocation must be there
// still. Whatever may be forgotten then, is.
func (w *world) nearlyExpire() {
	if len(w.tokens) == 0 {
		return
	}
	token := w.tokens[rapid.IntRange(0, len(w.tokens)-1).Draw(w.rt, "which expires")]
	exp, ok := token.claims["exp"].(int64)
	if !ok {
		return
	}
	early := rapid.Int64Range(1, 600).Draw(w.rt, "seconds before")
	if at := exp + int64(time.Duration(w.issuer.Leeway).Seconds()) - early; at > w.now.Load() {
		w.now.Store(at)
	}
	w.expire()
}

func (w *world) expire() {
	before := w.node.view.Stats().Revocations
	w.propose(record.Expire{Before: record.Bucket(w.time().Add(-time.Hour).Unix() / 3600)})
	w.expired += before - w.node.view.Stats().Revocations
}

// issue makes a token as an issuer may whose clock is ahead or behind, also one that breaks the
// rules.
func (w *world) issue() {
	leeway := int64(time.Duration(w.issuer.Leeway).Seconds())
	iat := w.now.Load() + rapid.Int64Range(-60, leeway).Draw(w.rt, "iat")
	longest := int64(time.Duration(w.issuer.MaxLifetime).Seconds())
	claims := map[string]any{
		"iss": w.issuer.Issuer, "iat": iat, "jti": fmt.Sprintf("j%d", len(w.tokens)),
		"sub":       rapid.SampledFrom([]string{"alice", "bob"}).Draw(w.rt, "sub"),
		"client_id": rapid.SampledFrom([]string{"app", "web"}).Draw(w.rt, "client"), "sid": "s",
	}
	if rapid.IntRange(0, 4).Draw(w.rt, "exp?") > 0 {
		claims["exp"] = iat + rapid.Int64Range(longest/2, longest+longest/8).Draw(w.rt, "lifetime")
	}
	if rapid.IntRange(0, 4).Draw(w.rt, "jti?") == 0 {
		delete(claims, "jti")
	}
	w.tokens = append(w.tokens, &issued{text: w.sign(claims), claims: claims, iat: iat})
}

func (w *world) sign(claims map[string]any) string {
	return token.Sign(w.rt, w.key, "k", "at+jwt", claims)
}

// revokeOne revokes one of the tokens in one of the ways there are, and with it all others that
// it names.
func (w *world) revokeOne() {
	if len(w.tokens) == 0 {
		return
	}
	token := w.tokens[rapid.IntRange(0, len(w.tokens)-1).Draw(w.rt, "which")]
	claims, code := w.node.validator.Inspect(token.text, w.time())
	if claims == nil || code == validate.Expired {
		return
	}
	r := record.Revocation{Name: record.Name{Issuer: w.issuer.Issuer}}
	by := rapid.SampledFrom([]string{"jti", "presented", "hash", "subject", "client", "session", "issuer", "both"}).Draw(w.rt, "by")
	switch by {
	case "presented", "jti", "hash":
		r.Name = claims.TokenName()
		if claims.JTI != "" && by != "hash" {
			r.Name = record.Name{Target: record.TargetJTI, Issuer: claims.Issuer, Value: claims.JTI}
		}
		if by == "presented" {
			r.Expiry = claims.ExpiresAt
		}
	case "subject":
		r.Target, r.Value = record.TargetSubject, claims.Subject
	case "client":
		r.Target, r.Value = record.TargetClient, claims.Client
	case "session":
		r.Target, r.Value = record.TargetSession, claims.Session
	case "issuer":
		r.Target = record.TargetIssuer
	case "both":
		r.Target, r.Value, r.And = record.TargetSubject, claims.Subject, []record.Part{{Target: record.TargetClient, Value: claims.Client}}
	}
	if r.Dated() && rapid.IntRange(0, 5).Draw(w.rt, "dated") > 0 {
		r.NotBefore = w.time().UTC().Truncate(time.Second)
	}
	w.propose(record.Revoke{Revocations: []record.Revocation{r}})
	w.revoked++
	for _, other := range w.tokens {
		if w.names(r, other) {
			other.revoked = by
		}
	}
}

// names tells whether the revocation is of the token.
func (w *world) names(r record.Revocation, token *issued) bool {
	claims, _ := w.node.validator.Inspect(token.text, w.time())
	if claims == nil || token.iat > r.Cutoff() {
		return false
	}
	is := func(target record.Target, value string) bool {
		return value == map[record.Target]string{
			record.TargetJTI: claims.JTI, record.TargetToken: claims.TokenName().Value, record.TargetSubject: claims.Subject,
			record.TargetClient: claims.Client, record.TargetSession: claims.Session, record.TargetIssuer: "",
		}[target]
	}
	return is(r.Target, r.Value) && !slices.ContainsFunc(r.And, func(p record.Part) bool { return !is(p.Target, p.Value) })
}

// check asks for every token on nodes whose clocks differ.
func (w *world) check() {
	for _, token := range w.tokens {
		for _, skew := range []time.Duration{0, -clockSkew, clockSkew} {
			v := w.node.validator.Validate(validate.Request{Credential: token.text}, w.time().Add(skew))
			if v.Outcome != validate.Allow {
				continue
			}
			if token.revoked != "" {
				w.rt.Fatalf("revoked by %s, and allowed again, by a clock that is %s off: %v", token.revoked, skew, token.claims)
			}
			w.allowed++
		}
	}
}
