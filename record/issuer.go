package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Bounds and defaults of an issuer's rules.
const (
	DefaultMaxLifetime = 24 * time.Hour
	LongestMaxLifetime = 366 * 24 * time.Hour
	DefaultLeeway      = 30 * time.Second
	LongestLeeway      = 5 * time.Minute
	// ShortestMaxStaleness is what a cluster keeps without effort: below, an answer would often
	// be unknown though nothing is wrong.
	ShortestMaxStaleness = time.Second
	LongestMaxStaleness  = LongestMaxLifetime
	maxListItems         = 100
	maxURL               = 2048
	maxInlineJWKS        = 256 << 10
	maxClaimNames        = 8
)

// DiscoverByIssuer, as Issuer.Discovery, says that the metadata document is where the issuer's
// own name says: at the well-known places of OpenID Connect Discovery and of RFC 8414.
const DiscoverByIssuer = "auto"

// Algorithms are the JWS algorithms that an issuer with public keys may use (RFC 7518 section
// 3.1, RFC 8037); SecretAlgorithms those of one with a shared secret. None is in both.
var (
	Algorithms = []string{
		"RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
		"ES256", "ES384", "ES512", "EdDSA",
	}
	SecretAlgorithms = []string{"HS256", "HS384", "HS512"}
)

// The algorithms of an issuer that names none.
var (
	DefaultAlgorithms       = []string{"RS256", "ES256", "EdDSA"}
	DefaultSecretAlgorithms = []string{"HS256"}
)

// Issuer is a trusted token issuer: its iss, where its keys come from, and what its tokens
// must look like. Exactly one of Discovery, JWKSURI, JWKS and SharedSecret is set.
type Issuer struct {
	// ID names the issuer in paths and logs: 1 to 63 of a-z, 0-9, dash.
	ID string `json:"id" cbor:"1,keyasint"`
	// Issuer is the exact value of the tokens' iss claim (RFC 7519 section 4.1.1).
	Issuer string `json:"issuer" cbor:"2,keyasint"`
	// Discovery is the URL of the issuer's metadata document, which names its jwks_uri; or
	// DiscoverByIssuer.
	Discovery string `json:"discovery,omitempty" cbor:"3,keyasint,omitempty"`
	// JWKSURI is the URL of the issuer's JWK set (RFC 7517 section 5).
	JWKSURI string `json:"jwks_uri,omitempty" cbor:"4,keyasint,omitempty"`
	// JWKS is the JWK set itself, for issuers that publish none. At most 256 KiB.
	JWKS json.RawMessage `json:"jwks,omitempty" cbor:"5,keyasint,omitempty"`
	// Algorithms that tokens may use; DefaultAlgorithms when empty.
	Algorithms []string `json:"algorithms,omitempty" cbor:"6,keyasint,omitempty"`
	// Audiences of which a token must name at least one; any audience will do when empty.
	Audiences []string `json:"audiences,omitempty" cbor:"7,keyasint,omitempty"`
	// Types are the accepted typ header values, compared without case and without
	// "application/" (RFC 8725 section 3.11); any will do when empty.
	Types []string `json:"types,omitempty" cbor:"8,keyasint,omitempty"`
	// MaxLifetime bounds exp - iat. A token that claims more is denied (P12), and a
	// revocation is kept for this long. 24h when zero, at most 366 days.
	MaxLifetime Duration `json:"max_lifetime,omitempty" cbor:"9,keyasint,omitempty"`
	// Leeway is the clock difference that is forgiven. 30s when zero, at most 5m.
	Leeway Duration `json:"leeway,omitempty" cbor:"10,keyasint,omitempty"`
	// AllowNoExpiry admits tokens without exp, AllowNoIssuedAt tokens without iat, of which
	// nobody can tell how long they live. Revocations of the issuer are then kept for good.
	AllowNoExpiry   bool `json:"allow_no_expiry,omitempty" cbor:"11,keyasint,omitempty"`
	AllowNoIssuedAt bool `json:"allow_no_issued_at,omitempty" cbor:"18,keyasint,omitempty"`
	// Revision of the last change. Set when the command is applied.
	Revision Revision `json:"revision" cbor:"12,keyasint,omitempty"`
	// ShorterBefore holds, for tokens that were issued before MaxLifetime was raised, the
	// limit that they are held to still: their revocations were kept no longer than that.
	ShorterBefore []LifetimeLimit `json:"shorter_before,omitempty" cbor:"13,keyasint,omitempty"`
	// Preset names a well-known issuer whose ways are filled in where nothing else is said.
	Preset string `json:"preset,omitempty" cbor:"14,keyasint,omitempty"`
	// Claims say in which claims its tokens have what Veto looks for.
	Claims ClaimNames `json:"claims,omitzero" cbor:"15,keyasint,omitzero"`
	// Required are claims that its tokens must have: with the value as a string, or with any
	// if it is empty.
	Required map[string]string `json:"required,omitempty" cbor:"16,keyasint,omitempty"`
	// SharedSecret says that its tokens are signed with a secret that it shares with the
	// cluster (HMAC). The secret is its one signing key, and shown to nobody.
	SharedSecret bool `json:"shared_secret,omitempty" cbor:"17,keyasint,omitempty"`
	// NoExpiryFrom, if set, is LongestLeeway after AllowNoExpiry was turned on: tokens without
	// exp that were issued before are denied, as their revocations were not kept for good.
	NoExpiryFrom time.Time `json:"no_expiry_from,omitzero" cbor:"19,keyasint,omitzero"`
	// MaxStaleness bounds how old a node's state may be to answer about its tokens; the node's
	// own bound alone when zero, which holds as well when it is stricter. 1s to 366 days.
	MaxStaleness Duration `json:"max_staleness,omitempty" cbor:"20,keyasint,omitempty"`
	// Operators, if not nil, say which of its tokens are operators'.
	Operators *Operators `json:"operators,omitempty" cbor:"30,keyasint,omitempty" since:"2"`
}

// LifetimeLimit holds tokens issued before a time to a lifetime.
type LifetimeLimit struct {
	IssuedBefore time.Time `json:"issued_before" cbor:"1,keyasint"`
	MaxLifetime  Duration  `json:"max_lifetime" cbor:"2,keyasint"`
}

// WithDefaults returns the issuer with its unset rules filled in.
func (i Issuer) WithDefaults() Issuer {
	if i.MaxLifetime == 0 {
		i.MaxLifetime = Duration(DefaultMaxLifetime)
	}
	if i.Leeway == 0 {
		i.Leeway = Duration(DefaultLeeway)
	}
	if len(i.Algorithms) == 0 {
		i.Algorithms = slices.Clone(DefaultAlgorithms)
		if i.SharedSecret {
			i.Algorithms = slices.Clone(DefaultSecretAlgorithms)
		}
	}
	if i.Discovery == "" && i.JWKSURI == "" && !i.Inline() {
		i.Discovery = DiscoverByIssuer
	}
	return i.withPreset()
}

// Inline tells whether the issuer's keys are given by an operator, and not fetched.
func (i *Issuer) Inline() bool { return len(i.JWKS) > 0 || i.SharedSecret }

// LifetimeFor returns the longest lifetime that a token issued at the given time may claim.
func (i *Issuer) LifetimeFor(issuedAt time.Time) time.Duration {
	limit := time.Duration(i.MaxLifetime)
	for _, l := range i.ShorterBefore {
		if issuedAt.Before(l.IssuedBefore) {
			limit = min(limit, time.Duration(l.MaxLifetime))
		}
	}
	return limit
}

// Check reports what is wrong with the issuer as an operator gave it, or nil. The error is
// a *Rejection that is safe to show to that operator.
func (i *Issuer) Check() error {
	if err := checkID("issuer id", i.ID); err != nil {
		return err
	}
	if i.Issuer == "" || len(i.Issuer) > maxURL {
		return Invalid("issuer: give the exact iss claim of its tokens, 1 to %d characters", maxURL)
	}
	if i.Issuer == CanaryIssuer {
		return Invalid("issuer: %s is the cluster's own, and never trusted", CanaryIssuer)
	}
	if err := i.checkSource(); err != nil {
		return err
	}
	if d := time.Duration(i.MaxLifetime); d != 0 && d < time.Second || d > LongestMaxLifetime {
		return Invalid("max_lifetime: must be between 1s and %s", Duration(LongestMaxLifetime))
	}
	if d := time.Duration(i.Leeway); d != 0 && d < time.Second || d > LongestLeeway {
		return Invalid("leeway: must be between 1s and %s", Duration(LongestLeeway))
	}
	if d := time.Duration(i.MaxStaleness); d != 0 && (d < ShortestMaxStaleness || d > LongestMaxStaleness) {
		return Invalid("max_staleness: must be between %s and %s, or not given for the node's own", Duration(ShortestMaxStaleness), Duration(LongestMaxStaleness))
	}
	if err := errors.Join(i.checkClaims(), i.Operators.check()); err != nil {
		return err
	}
	may, why := Algorithms, ""
	if i.SharedSecret {
		may, why = SecretAlgorithms, " with a shared secret"
	}
	for _, a := range i.Algorithms {
		if !slices.Contains(may, a) {
			return Invalid("algorithms: %q is not one of %s, which an issuer%s may use", a, strings.Join(may, ", "), why)
		}
	}
	if err := checkList("algorithms", i.Algorithms); err != nil {
		return err
	}
	if err := checkList("audiences", i.Audiences); err != nil {
		return err
	}
	return checkList("types", i.Types)
}

func (i *Issuer) checkSource() error {
	given := 0
	if i.Discovery == DiscoverByIssuer {
		given++
		if !isURL(i.Issuer) || strings.ContainsAny(i.Issuer, "?#") {
			return Invalid("the issuer is no URL that tells where its keys are; give exactly one of discovery, jwks_uri, jwks and shared_secret")
		}
	} else if i.Discovery != "" {
		given++
		if !isURL(i.Discovery) {
			return Invalid("discovery: must be an http or https URL without a user in it")
		}
	}
	if i.JWKSURI != "" {
		given++
		if !isURL(i.JWKSURI) {
			return Invalid("jwks_uri: must be an http or https URL without a user in it")
		}
	}
	if len(i.JWKS) > 0 {
		given++
		if len(i.JWKS) > maxInlineJWKS {
			return Invalid("jwks: at most %d bytes", maxInlineJWKS)
		}
	}
	if i.SharedSecret {
		given++
	}
	if given != 1 {
		return Invalid("give exactly one of discovery, jwks_uri, jwks and shared_secret")
	}
	return nil
}

func isURL(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && len(raw) <= maxURL && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http") && u.User == nil
}

// SigningKeyStatus says what a signing key is good for.
type SigningKeyStatus string

// The statuses of a signing key. A retired key is one that its issuer no longer
// publishes; tokens that it signed are still good until they expire.
const (
	SigningKeyActive  SigningKeyStatus = "active"
	SigningKeyRetired SigningKeyStatus = "retired"
)

// SigningKey is one verification key of an issuer.
type SigningKey struct {
	// KID is the key's id within its issuer; may be empty (RFC 7517 section 4.5).
	KID string `json:"kid" cbor:"1,keyasint,omitempty"`
	// Alg is the only algorithm that the key may be used with.
	Alg string `json:"alg" cbor:"2,keyasint"`
	// JWK is the public key as a JWK in JSON. It never holds private members.
	JWK json.RawMessage `json:"jwk,omitempty" cbor:"3,keyasint"`
	// Status is active or retired.
	Status SigningKeyStatus `json:"status" cbor:"4,keyasint"`
	// RetiredAt is when the issuer was first seen without the key; zero while active.
	RetiredAt time.Time `json:"retired_at,omitzero" cbor:"5,keyasint,omitzero"`
	// Secret is a shared secret, in place of JWK. It is shown to nobody.
	Secret []byte `json:"-" cbor:"6,keyasint,omitempty"`
}

// Bounds of a shared secret, in bytes. It must be as long as the hash of its algorithm at
// least (RFC 7518 section 3.2), of which the shortest has 32.
const (
	MinSecret = 32
	MaxSecret = 1024
)

// Check reports what is wrong with the key, or nil.
func (k *SigningKey) Check() error {
	if len(k.Secret) == 0 {
		return nil
	}
	need := map[string]int{"HS256": 32, "HS384": 48, "HS512": 64}[k.Alg]
	if need == 0 || len(k.Secret) < need || len(k.Secret) > MaxSecret {
		return Invalid("shared_secret: must have %d to %d bytes for %s", max(need, MinSecret), MaxSecret, k.Alg)
	}
	if !slices.ContainsFunc(k.Secret, func(b byte) bool { return b != k.Secret[0] }) {
		return Invalid("shared_secret: is the same byte over and over, which is no secret")
	}
	return nil
}

// SigningKeys are all keys of one issuer as of one fetch.
type SigningKeys struct {
	IssuerID  string       `json:"issuer_id" cbor:"1,keyasint"`
	FetchedAt time.Time    `json:"fetched_at" cbor:"2,keyasint"`
	Keys      []SigningKey `json:"keys" cbor:"3,keyasint"`
	Revision  Revision     `json:"revision" cbor:"4,keyasint,omitempty"`
}

func checkID(what, id string) error {
	if len(id) == 0 || len(id) > 63 {
		return Invalid("%s: 1 to 63 of a-z, 0-9 and dash", what)
	}
	for _, c := range id {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return Invalid("%s: 1 to 63 of a-z, 0-9 and dash; %q is not", what, c)
		}
	}
	return nil
}

func checkList(name string, list []string) error { return checkListOf(name, list, maxListItems) }

func checkListOf(name string, list []string, most int) error {
	return checkEach(name, list, most, func(s string) error {
		if s == "" || len(s) > maxURL {
			return Invalid("%s: each must have 1 to %d characters", name, maxURL)
		}
		return nil
	})
}

// checkEach bounds a list, checks each in it, and refuses what is there twice. The name is of the list.
func checkEach[T comparable](name string, list []T, most int, check func(T) error) error {
	if len(list) > most {
		return Invalid("%s: at most %d", name, most)
	}
	for n, one := range list {
		if err := check(one); err != nil {
			return err
		}
		if slices.Contains(list[:n], one) {
			return Invalid("%s: %.100q is there twice", name, fmt.Sprint(one))
		}
	}
	return nil
}

// Duration is a time.Duration that reads and writes itself as text, such as "1h30m".
type Duration time.Duration

// String is the text form.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText writes the text form.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what time.ParseDuration reads.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("%q is not a duration such as 90s or 24h", b)
	}
	*d = Duration(v)
	return nil
}

// timeOfDay is how RFC 3339 section 5.6 ends a time. Go alone would also take an hour of one digit, a comma in the
// seconds, and 24 hours to UTC.
var timeOfDay = regexp.MustCompile(`T\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$`)

// ParseTime reads a time as RFC 3339 has it. The zero time is none, as it stands for that nothing was said.
func ParseTime(text string) (time.Time, error) {
	upper := strings.ToUpper(text) // T and Z may be lower case, which Go does not take
	t, err := time.Parse(time.RFC3339, upper)
	if err != nil || t.IsZero() || !timeOfDay.MatchString(upper) {
		return time.Time{}, fmt.Errorf("%q is no time such as 2026-01-31T00:00:00Z", text)
	}
	return t, nil
}

// PutIssuer makes an issuer or replaces the rules of one. Keys are given only with an
// inline JWK set; they then replace the issuer's keys.
type PutIssuer struct {
	Issuer Issuer       `cbor:"1,keyasint"`
	Keys   []SigningKey `cbor:"2,keyasint,omitempty"`
}

// DeleteIssuer ends the trust in an issuer. Its revocations stay until they expire.
type DeleteIssuer struct {
	ID string `cbor:"1,keyasint"`
}

// PutSigningKeys replaces the keys of an issuer with those that were fetched. Keys that it
// no longer names are kept as retired for the issuer's longest lifetime.
type PutSigningKeys struct {
	Keys SigningKeys `cbor:"1,keyasint"`
	// Rules is the revision of the issuer's rules that they were fetched by: under others they
	// are refused.
	Rules Revision `cbor:"2,keyasint,omitempty"`
}

func (PutIssuer) Kind() Kind      { return KindPutIssuer }
func (DeleteIssuer) Kind() Kind   { return KindDeleteIssuer }
func (PutSigningKeys) Kind() Kind { return KindPutSigningKeys }
