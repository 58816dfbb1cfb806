package node

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"veto/record"
	"veto/record/limit"
	"veto/replication/keytable"
	"veto/replication/pepper"
	"veto/validate"
	"veto/validate/apikey"
	"veto/validate/jwt"
	"veto/validate/keyset"
)

const benchIssuer = "https://issuer.example"

var benchRevoked = flag.Int("revoked", 100_000, "revocations in the index while validations are measured")

var benchAPIKeys = flag.Int("keys", 1_000_000, "API keys on the node, where many are measured")

// bench is a real node, alone, with an issuer, a key and revocations.
type bench struct {
	*Node
	cold   *validate.Validator // as the node's own, but that it remembers no tokens
	keys   map[string]crypto.Signer
	secret string
	// limited are of keys that have limits, so many that these are not reached.
	limited [20]string
}

func newBench(b testing.TB, port, revoked int) *bench {
	b.Helper()
	c := DefaultConfig()
	c.DataDir, c.NodeID, c.Port = b.TempDir(), "n1", port
	c.PepperKeyFile = filepath.Join(c.DataDir, "key")
	if err := os.WriteFile(c.PepperKeyFile, []byte(base64.StdEncoding.EncodeToString(make([]byte, 32))), 0o600); err != nil {
		b.Fatal(err)
	}
	n, err := Start(c, Surroundings{Version: "bench", Now: time.Now, Log: slog.New(slog.DiscardHandler), AdminToken: func(string) error { return nil }})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = n.Close() })
	for !n.Ready() || n.view.Peppers().Newest() == 0 || len(n.view.Outdated(1)) > 0 {
		select {
		case err := <-n.Failed():
			b.Fatal(err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	x := &bench{Node: n, keys: benchKeys(b)}
	x.fill(b, revoked)
	keys := keyset.NewHolder()
	issuer := n.view.Issuers()[0]
	signing, _ := n.view.SigningKeys(issuer.ID)
	keys.Swap([]record.Issuer{issuer}, []record.SigningKeys{signing})
	x.cold = validate.New(n.view, validate.Policy{MaxStaleness: time.Minute}, jwt.New(keys, nil, func(string) {}), apikey.New(n.view), nil)
	return x
}

func benchKeys(b testing.TB) map[string]crypto.Signer {
	b.Helper()
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	_, d, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	return map[string]crypto.Signer{"RS256": r, "PS256": r, "ES256": e, "EdDSA": d}
}

func (x *bench) fill(b testing.TB, revoked int) {
	b.Helper()
	var keys []record.SigningKey
	for alg, key := range x.keys {
		set, err := keyset.PublicJWKS(map[string]crypto.PublicKey{alg: key.Public()})
		if err != nil {
			b.Fatal(err)
		}
		parsed, err := keyset.Parse([]byte(strings.ReplaceAll(string(set), `"alg":"RS256"`, `"alg":"`+alg+`"`)), nil)
		if err != nil {
			b.Fatal(err)
		}
		keys = append(keys, parsed...)
	}
	bodies := []record.Body{
		record.PutIssuer{
			Issuer: record.Issuer{ID: "one", Issuer: benchIssuer, JWKS: []byte(`{}`), Algorithms: []string{"RS256", "PS256", "ES256", "EdDSA"}}, Keys: keys,
		},
		record.PutConsumer{Consumer: record.Consumer{ID: "shop"}},
		newBenchKey(b, "key_1", nil, &x.secret),
	}
	for i := range x.limited {
		bodies = append(bodies, newBenchKey(b, fmt.Sprint("limited_", i), &limit.Limits{
			Rate: limit.Rate{Requests: limit.MaxRate, Seconds: 1}, Burst: limit.MaxBurst, Quota: limit.Quota{Requests: limit.MaxQuota, Period: limit.Month},
		}, &x.limited[i]))
	}
	for _, body := range bodies {
		if _, err := x.replica.Propose(b.Context(), record.Command{Body: body}); err != nil {
			b.Fatal(err)
		}
	}
	for at := 0; at < revoked; at += record.MaxImport {
		part := record.Import{First: uint64(at + 1), Alike: []record.Revocation{{Name: record.Name{Target: record.TargetJTI, Issuer: benchIssuer}}}}
		for i := range min(record.MaxImport, revoked-at) {
			part.Items = append(part.Items, record.ImportItem{Value: fmt.Sprint(at + i)})
		}
		if _, err := x.replica.Propose(b.Context(), record.Command{Request: record.Request{Key: "bench"}, Body: part}); err != nil {
			b.Fatal(err)
		}
	}
}

func newBenchKey(b testing.TB, id string, limits *limit.Limits, secret *string) record.Body {
	b.Helper()
	s, hash, hint, err := apikey.Generate(rand.Reader, apikey.Form{Prefix: apikey.Prefix})
	if err != nil {
		b.Fatal(err)
	}
	*secret = s
	return record.CreateKey{Key: record.APIKey{ID: id, Consumer: "shop", Hash: hash, Hint: hint, Scopes: []string{"read"}, Limits: limits}}
}

// token is one of about 800 bytes, as an OAuth 2.0 server would make it (RFC 9068).
func (x *bench) token(b testing.TB, alg string, jti int) string {
	b.Helper()
	part := func(v any) string {
		j, err := json.Marshal(v)
		if err != nil {
			b.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(j)
	}
	claims := map[string]any{
		"iss": benchIssuer, "sub": "user_0123456789abcdef", "client_id": "checkout-frontend", "aud": []string{"https://api.example"},
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(), "jti": fmt.Sprintf("0192f0c1-7c2b-7d00-8000-%012d", jti),
		"scope": "orders:read orders:write profile", "sid": "5b2d7c1e-session", "tenant": "acme", "roles": []string{"buyer", "reviewer"},
	}
	head := map[string]any{"alg": alg, "kid": alg, "typ": "at+jwt"}
	if size := 800 - len(part(head)) - len(part(claims)) - 2 - 4*(x.signatureSize(alg)+2)/3; size > 60 {
		claims["note"] = strings.Repeat("n", size*3/4-12)
	}
	input := part(head) + "." + part(claims)
	return input + "." + base64.RawURLEncoding.EncodeToString(x.sign(b, alg, []byte(input)))
}

func (x *bench) signatureSize(alg string) int {
	if alg == "RS256" || alg == "PS256" {
		return 256
	}
	return 64
}

func (x *bench) sign(b testing.TB, alg string, input []byte) []byte {
	b.Helper()
	var options crypto.SignerOpts = crypto.SHA256
	digest := sha256.Sum256(input)
	signed := digest[:]
	switch alg {
	case "PS256":
		options = &rsa.PSSOptions{SaltLength: 32, Hash: crypto.SHA256}
	case "EdDSA":
		options, signed = crypto.Hash(0), input
	}
	signature, err := x.keys[alg].Sign(rand.Reader, signed, options)
	if err != nil {
		b.Fatal(err)
	}
	if alg != "ES256" {
		return signature
	}
	s := unmarshalSignature(b, signature)
	return append(s.R.FillBytes(make([]byte, 32)), s.S.FillBytes(make([]byte, 32))...)
}

// floor is the bare check of the token's signature by the standard library, hash included.
func (x *bench) floor(b *testing.B, token string) func() bool {
	b.Helper()
	at := strings.LastIndexByte(token, '.')
	input := []byte(token[:at])
	signature, err := base64.RawURLEncoding.DecodeString(token[at+1:])
	if err != nil {
		b.Fatal(err)
	}
	switch key := x.keys[algOf(b, token)].Public().(type) {
	case ed25519.PublicKey:
		return func() bool { return ed25519.Verify(key, input, signature) }
	case *ecdsa.PublicKey:
		der := marshalSignature(b, signature)
		return func() bool { d := sha256.Sum256(input); return ecdsa.VerifyASN1(key, d[:], der) }
	case *rsa.PublicKey:
		if algOf(b, token) == "PS256" {
			return func() bool {
				d := sha256.Sum256(input)
				return rsa.VerifyPSS(key, crypto.SHA256, d[:], signature, &rsa.PSSOptions{SaltLength: 32}) == nil
			}
		}
		return func() bool {
			d := sha256.Sum256(input)
			return rsa.VerifyPKCS1v15(key, crypto.SHA256, d[:], signature) == nil
		}
	}
	b.Fatal("no such key")
	return nil
}

// against runs both in turns, so that the machine's moods meet both, and reports the median of
// the ratios and the fastest round of f.
func against(b *testing.B, floor, f func() bool) {
	b.Helper()
	const runs = 100
	var ratios []float64
	best := time.Duration(1 << 62)
	round := func(f func() bool) time.Duration {
		start := time.Now()
		for range runs {
			if !f() {
				b.Fatal("refused")
			}
		}
		return time.Since(start)
	}
	round(floor)
	round(f)
	for b.Loop() {
		below, took := round(floor), round(f)
		ratios = append(ratios, float64(took)/float64(below))
		best = min(best, took)
	}
	slices.Sort(ratios)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(best.Nanoseconds())/runs, "best-ns")
	b.ReportMetric(ratios[len(ratios)/2], "x-floor")
}

// BenchmarkCold is a token that was never seen, against its bare signature. Aim: 1.10.
func BenchmarkCold(b *testing.B) {
	x := newBench(b, 24000, *benchRevoked)
	for _, alg := range []string{"RS256", "PS256", "ES256", "EdDSA"} {
		b.Run(alg, func(b *testing.B) {
			token := x.token(b, alg, 1)
			r, now := validate.Request{Credential: token}, time.Now()
			against(b, x.floor(b, token), func() bool { return x.cold.Validate(r, now).Outcome == validate.Allow })
		})
	}
}

// BenchmarkWarm is a token that was seen before, with many revocations in the index (-revoked), each
// time another of 1,000. Aim: 900 ns and no allocation.
func BenchmarkWarm(b *testing.B) {
	x := newBench(b, 24000, *benchRevoked)
	requests := make([]validate.Request, 1000)
	for i := range requests {
		requests[i].Credential = x.token(b, "EdDSA", i+10*(*benchRevoked))
		if v := x.validator.Validate(requests[i], time.Now()); v.Outcome != validate.Allow {
			b.Fatal(v.Code)
		}
	}
	x.measure(b, requests)
}

// N8
func TestWhatComesOftenAllocatesNothing(t *testing.T) {
	x, now := newBench(t, 24000, 1000), time.Now()
	x.role(t)
	for name, r := range map[string]validate.Request{
		"token": {Credential: x.token(t, "ES256", 1_000_000)}, "api key": {Credential: x.secret, Scopes: []string{"write"}},
		"limited api key": {Credential: x.limited[0]},
	} {
		ask := func() {
			if v := x.validator.Validate(r, now); v.Outcome != validate.Allow {
				t.Fatalf("%s: %s", name, v.Code)
			}
		}
		// What else the node does allocates too, and with -race a pool forgets a quarter of what it
		// is given: the least of some rounds is the path's own.
		least := testing.AllocsPerRun(1, ask)
		for range 1000 {
			least = min(least, testing.AllocsPerRun(1, ask))
		}
		if least != 0 {
			t.Errorf("%s: %v allocations", name, least)
		}
	}
}

// BenchmarkAPIKey: aim 400 ns and no allocation.
func BenchmarkAPIKey(b *testing.B) {
	x := newBench(b, 24000, *benchRevoked)
	x.measure(b, []validate.Request{{Credential: x.secret}})
	b.Run("limited", func(b *testing.B) {
		var requests []validate.Request
		for _, secret := range x.limited {
			requests = append(requests, validate.Request{Credential: secret})
		}
		x.measure(b, requests)
	})
}

// BenchmarkAPIKeys is one of many keys, in a table beside the node's own, as the log would take long to
// bring them. Each time it is another at random: of all, or of 1,000. Aim: 400 ns and no allocation.
func BenchmarkAPIKeys(b *testing.B) {
	x, table := newBench(b, 24000, 1000), manyKeys{keytable.New()}
	table.SetPeppers(func(*pepper.Peppers) *pepper.Peppers { return x.view.Peppers() })
	requests := make([]validate.Request, *benchAPIKeys)
	for i := range requests {
		body, err := table.Peppered(newBenchKey(b, fmt.Sprintf("key_%026d", i), nil, &requests[i].Credential), record.LevelNewest)
		if err != nil {
			b.Fatal(err)
		}
		k := body.(record.CreateKey).Key
		table.Set(&k, nil, false)
	}
	x.validator = validate.New(x.view, validate.Policy{MaxStaleness: time.Minute}, nil, apikey.New(table), nil)
	mathrand.Shuffle(len(requests), func(i, j int) { requests[i], requests[j] = requests[j], requests[i] })
	for i := range requests { // one after the other, as what was just received is in the processor's cache
		requests[i].Credential = strings.Clone(requests[i].Credential)
	}
	b.Run("all", func(b *testing.B) { x.measure(b, requests) })
	b.Run("often", func(b *testing.B) { x.measure(b, requests[:min(1000, len(requests))]) })
}

type manyKeys struct{ *keytable.Table }

func (t manyKeys) Locked() bool { return t.Peppers().Locked() }

func (t manyKeys) APIKey(h record.KeyHash, room *record.KeyRoom) (k *record.APIKey, old, ok bool) {
	return t.Find(h, room)
}

func BenchmarkAPIKeyWithRole(b *testing.B) {
	x := newBench(b, 24000, *benchRevoked)
	x.role(b)
	x.measure(b, []validate.Request{{Credential: x.secret}})
}

// role gives the key a scope by a role.
func (x *bench) role(b testing.TB) {
	b.Helper()
	for _, body := range []record.Body{
		record.PutRole{Role: record.DefinedRole{ID: "writer", Scopes: []string{"write"}}},
		record.UpdateKey{ID: "key_1", Roles: &[]record.Role{"writer"}},
	} {
		if r, err := x.replica.Propose(b.Context(), record.Command{Body: body}); err != nil || r.Rejection != nil {
			b.Fatal(r.Rejection, err)
		}
	}
}

func (x *bench) measure(b *testing.B, requests []validate.Request) {
	b.Helper()
	now := time.Now() // the server has taken it already
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if x.validator.Validate(requests[i%len(requests)], now).Outcome != validate.Allow {
				b.Fatal("refused")
			}
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(p *testing.PB) {
			for i := 0; p.Next(); i++ {
				if x.validator.Validate(requests[i%len(requests)], now).Outcome != validate.Allow {
					b.Error("refused")
				}
			}
		})
	})
}
