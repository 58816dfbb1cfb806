package machine_test

import (
	"slices"
	"testing"
	"time"

	"veto/record"
)

func issuerNow(t *testing.T, s state) record.Issuer {
	t.Helper()
	var i record.Issuer
	if err := record.Decode([]byte(s[string(record.TableIssuers.Key([]byte("one")))]), &i); err != nil {
		t.Fatal(err)
	}
	return i
}

func one(life time.Duration) record.Issuer {
	return record.Issuer{ID: "one", Issuer: iss, JWKSURI: "https://x.example", MaxLifetime: record.Duration(life)}
}

// P12: what was held to a shorter life stays so, also when the trust ended in between.
func TestTrustedAgainRemembersItsLimits(t *testing.T) {
	s, rev := founded(t)
	later := stamp.Add(time.Hour)
	apply(t, s, rev, later, record.DeleteIssuer{ID: "one"})
	apply(t, s, rev, later, record.PutIssuer{Issuer: one(24 * time.Hour)})
	i := issuerNow(t, s)
	if i.LifetimeFor(stamp) != time.Hour || i.LifetimeFor(later.Add(record.LongestLeeway)) != 24*time.Hour {
		t.Errorf("%s before, %s after", i.LifetimeFor(stamp), i.LifetimeFor(later.Add(record.LongestLeeway)))
	}
	other := one(24 * time.Hour)
	other.ID = "two"
	apply(t, s, rev, later, record.DeleteIssuer{ID: "one"})
	if r := apply(t, s, rev, later, record.PutIssuer{Issuer: other}); r.Rejection != nil {
		t.Fatal(r.Rejection)
	}
	var again record.Issuer
	if err := record.Decode([]byte(s[string(record.TableIssuers.Key([]byte("two")))]), &again); err != nil || again.LifetimeFor(stamp) != time.Hour {
		t.Errorf("under another id: %s, %v", again.LifetimeFor(stamp), err)
	}
}

// M16: a manager is named by the id of an issuer, and stays the one who was meant.
func TestManagersStayWhoTheyAre(t *testing.T) {
	s, rev := founded(t)
	other := one(time.Hour)
	other.Issuer = iss + "/other"
	shop := record.Consumer{ID: "shop", Managers: []record.Person{{Issuer: "one", Subject: "ann"}}}
	refused := func(r record.Result) bool { return r.Rejection != nil && r.Rejection.Reason == record.ReasonConflict }
	swap := func(want bool) {
		t.Helper()
		apply(t, s, rev, stamp, record.DeleteIssuer{ID: "one"})
		if r := apply(t, s, rev, stamp, record.PutIssuer{Issuer: other}); refused(r) != want {
			t.Errorf("given to another iss: %+v", r)
		}
		apply(t, s, rev, stamp, record.DeleteIssuer{ID: "one"})
		if r := apply(t, s, rev, stamp, record.PutIssuer{Issuer: one(time.Hour)}); refused(r) && want {
			t.Errorf("given back to its own: %+v", r)
		}
	}
	apply(t, s, rev, stamp, record.PutConsumer{Consumer: shop})
	swap(false) // by what older nodes know
	apply(t, s, rev, stamp, record.DeleteConsumer{ID: "shop"})
	apply(t, s, rev, stamp, record.RaiseLevel{To: record.LevelTrail})
	swap(false)
	apply(t, s, rev, stamp, record.PutConsumer{Consumer: shop})
	swap(true)
	third := one(time.Hour)
	third.ID, third.Issuer = "three", iss+"/three"
	if r := apply(t, s, rev, stamp, record.PutIssuer{Issuer: third}); r.Rejection != nil {
		t.Errorf("an id that was nobody's: %+v", r)
	}
}

// P12: tokens whose age nobody can tell are not admitted behind the back of revocations that
// were kept for a lifetime only.
func TestAllowancesHoldForWhatComes(t *testing.T) {
	s, rev := founded(t)
	later := stamp.Add(time.Hour)
	loose := one(time.Hour)
	loose.AllowNoExpiry = true
	apply(t, s, rev, later, record.PutIssuer{Issuer: loose})
	settled := later.Add(record.LongestLeeway) // an issuer's clock may be ahead
	if i := issuerNow(t, s); !i.NoExpiryFrom.Equal(settled) {
		t.Errorf("without exp from %s on, want %s", i.NoExpiryFrom, settled)
	}
	apply(t, s, rev, later.Add(time.Hour), record.PutIssuer{Issuer: loose})
	if i := issuerNow(t, s); !i.NoExpiryFrom.Equal(settled) {
		t.Errorf("said again: from %s on, want %s", i.NoExpiryFrom, settled)
	}
	loose.AllowNoIssuedAt = true
	if r := apply(t, s, rev, later, record.PutIssuer{Issuer: loose}); r.Rejection == nil || r.Rejection.Reason != record.ReasonConflict {
		t.Errorf("without iat, of an iss that was trusted before: %+v", r)
	}
	apply(t, s, rev, later, record.DeleteIssuer{ID: "one"})
	if r := apply(t, s, rev, later, record.PutIssuer{Issuer: loose}); r.Rejection == nil {
		t.Error("without iat, after the trust had ended")
	}
	loose.ID, loose.Issuer = "new", iss+"/new"
	if r := apply(t, s, rev, later, record.PutIssuer{Issuer: loose}); r.Rejection != nil {
		t.Error(r.Rejection)
	}
	jti := revocation(record.TargetJTI, "v")
	jti.Issuer = loose.Issuer
	apply(t, s, rev, later, record.Revoke{Revocations: []record.Revocation{jti}})
	digest := record.DigestKey{1}.Digest(jti.Name)
	if _, ok := s[string(record.RevocationKey(record.Forever, digest, record.DeniesAll))]; !ok {
		t.Error("a revocation of an issuer without iat is not kept for good")
	}
}

func TestSecretIsReplacedOutright(t *testing.T) {
	s, rev := founded(t)
	put := func(secret byte) record.Result {
		i := record.Issuer{ID: "hmac", Issuer: iss + "/hmac", SharedSecret: true}
		keys := []record.SigningKey{{Alg: "HS256", Secret: append([]byte{secret}, make([]byte, 31)...)}}
		return apply(t, s, rev, stamp, record.PutIssuer{Issuer: i, Keys: keys})
	}
	put(1)
	put(2)
	var stored record.SigningKeys
	if err := record.Decode([]byte(s[string(record.TableSigningKeys.Key([]byte("hmac")))]), &stored); err != nil {
		t.Fatal(err)
	}
	if len(stored.Keys) != 1 || stored.Keys[0].Secret[0] != 2 {
		t.Errorf("%d keys", len(stored.Keys))
	}
	for what, b := range map[string]record.PutIssuer{
		"no secret":          {Issuer: record.Issuer{ID: "x", Issuer: "x", SharedSecret: true}},
		"no secret at all":   {Issuer: record.Issuer{ID: "x", Issuer: "x", SharedSecret: true}, Keys: []record.SigningKey{{Alg: "HS256", Secret: make([]byte, 32)}}},
		"an algorithm twice": {Issuer: record.Issuer{ID: "x", Issuer: "x", JWKS: []byte("{}"), Algorithms: []string{"RS256", "RS256"}}},
		"a short secret":     {Issuer: record.Issuer{ID: "x", Issuer: "x", SharedSecret: true}, Keys: []record.SigningKey{{Alg: "HS256", Secret: make([]byte, 31)}}},
		"a public key":       {Issuer: record.Issuer{ID: "x", Issuer: "x", SharedSecret: true}, Keys: []record.SigningKey{{Alg: "RS256", JWK: []byte("{}")}}},
		"a secret for all":   {Issuer: record.Issuer{ID: "x", Issuer: "x", JWKS: []byte("{}")}, Keys: []record.SigningKey{{Alg: "HS256", Secret: make([]byte, 32)}}},
		"HS256 with a JWKS":  {Issuer: record.Issuer{ID: "x", Issuer: "x", JWKS: []byte("{}"), Algorithms: []string{"HS256"}}},
		"RS256 with a secret": {
			Issuer: record.Issuer{ID: "x", Issuer: "x", SharedSecret: true, Algorithms: []string{"RS256"}},
			Keys:   []record.SigningKey{{Alg: "HS256", Secret: make([]byte, 32)}},
		},
	} {
		if r := apply(t, s, rev, stamp, b); r.Rejection == nil || r.Rejection.Reason != record.ReasonInvalid {
			t.Errorf("%s: %+v", what, r)
		}
	}
	fetched := record.PutSigningKeys{Keys: record.SigningKeys{IssuerID: "hmac", Keys: []record.SigningKey{{Alg: "RS256", JWK: []byte("{}")}}}}
	if r := apply(t, s, rev, stamp, fetched); r.Rejection == nil {
		t.Error("fetched keys for an issuer with a shared secret")
	}
}

// M6: keys are those of the place where the rules say they are, and of no other.
func TestKeysOfAnotherSource(t *testing.T) {
	s, rev := founded(t)
	key := func(kid string) []record.SigningKey {
		return []record.SigningKey{{KID: kid, Alg: "ES256", JWK: []byte(`"` + kid + `"`)}}
	}
	kids := func() (all []string) {
		var stored record.SigningKeys
		if b, ok := s[string(record.TableSigningKeys.Key([]byte("one")))]; ok {
			if err := record.Decode([]byte(b), &stored); err != nil {
				t.Fatal(err)
			}
		}
		for _, k := range stored.Keys {
			all = append(all, k.KID)
		}
		return all
	}
	fetched := func(rules record.Revision, kid string) record.Result {
		return apply(t, s, rev, stamp, record.PutSigningKeys{Rules: rules, Keys: record.SigningKeys{IssuerID: "one", Keys: key(kid)}})
	}
	i := issuerNow(t, s)
	first := i.Revision
	if r := fetched(first, "a"); r.Rejection != nil || !slices.Equal(kids(), []string{"a"}) {
		t.Fatalf("%+v, %v", r, kids())
	}
	i.Audiences = []string{"x"} // other rules, the same place
	apply(t, s, rev, stamp, record.PutIssuer{Issuer: i})
	if !slices.Equal(kids(), []string{"a"}) {
		t.Errorf("other rules: %v", kids())
	}
	i.JWKSURI = "https://elsewhere.example"
	apply(t, s, rev, stamp, record.PutIssuer{Issuer: i})
	if len(kids()) != 0 {
		t.Errorf("from elsewhere: %v", kids())
	}
	// What was asked for before comes late.
	if r := fetched(first, "late"); r.Rejection == nil || r.Rejection.Reason != record.ReasonConflict || len(kids()) != 0 {
		t.Errorf("%+v, %v", r, kids())
	}
	fetched(issuerNow(t, s).Revision, "b")
	given := i
	given.JWKSURI, given.JWKS = "", []byte("{}")
	apply(t, s, rev, stamp, record.PutIssuer{Issuer: given, Keys: key("given")})
	if !slices.Equal(kids(), []string{"given"}) {
		t.Errorf("given: %v", kids())
	}
	apply(t, s, rev, stamp, record.PutIssuer{Issuer: i})
	if len(kids()) != 0 {
		t.Errorf("fetched again: %v", kids())
	}
}

// A value that no clock has does not get into the log, nor does it stop a node.
func TestTimesOutOfRange(t *testing.T) {
	s, rev := founded(t)
	far := revocation(record.TargetSubject, "v")
	far.NotBefore = time.Date(9999, 12, 31, 23, 59, 0, 0, time.UTC)
	zoned := revocation(record.TargetSubject, "v")
	zoned.NotBefore = time.Date(1970, 1, 1, 0, 0, 0, 0, time.FixedZone("", 24*3600-1))
	expires := time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, b := range []record.Body{
		record.Revoke{Revocations: []record.Revocation{far}},
		record.Revoke{Revocations: []record.Revocation{zoned}},
		record.UpdateKey{ID: "key_s", ExpiresAt: &expires},
	} {
		if r := apply(t, s, rev, stamp, b); r.Rejection == nil || r.Rejection.Reason != record.ReasonInvalid {
			t.Errorf("%#v: %+v", b, r)
		}
	}
}
