package record

import (
	"crypto/sha256"
	"maps"
	"slices"
	"strings"
)

// ClaimNames say in which claims an issuer's tokens have what Veto looks for. Of several names
// the first that a token has counts.
type ClaimNames struct {
	Subject []string `json:"subject,omitempty" cbor:"1,keyasint,omitempty"`
	JTI     []string `json:"jti,omitempty" cbor:"2,keyasint,omitempty"`
	Client  []string `json:"client,omitempty" cbor:"3,keyasint,omitempty"`
	Session []string `json:"session,omitempty" cbor:"4,keyasint,omitempty"`
	Scopes  []string `json:"scopes,omitempty" cbor:"5,keyasint,omitempty"`
}

// Operators say which of an issuer's tokens are operators', and of which of Veto's roles.
type Operators struct {
	// Audience must be among a token's: one for another API is no operator's.
	Audience string `json:"audience" cbor:"1,keyasint"`
	// Claim has the values, as a text or a list of texts.
	Claim string `json:"claim" cbor:"2,keyasint"`
	// Roles of Veto's own, by the value that gives them; what is not named gives none.
	Roles map[string][]Role `json:"roles" cbor:"3,keyasint"`
}

// Of gives the roles of the values, each once.
func (o *Operators) Of(values []string) []Role {
	var roles []Role
	for _, r := range Roles() {
		if slices.ContainsFunc(values, func(v string) bool { return slices.Contains(o.Roles[v], r) }) {
			roles = append(roles, r)
		}
	}
	return roles
}

func (o *Operators) check() error {
	if o == nil {
		return nil
	}
	if o.Audience == "" || len(o.Audience) > maxURL || o.Claim == "" || len(o.Claim) > maxName {
		return Invalid("operators: give the audience that their tokens name, which is for Veto alone, and the claim with the values")
	}
	if len(o.Roles) == 0 || len(o.Roles) > maxListItems {
		return Invalid("operators: give 1 to %d values of the claim, and the roles of each", maxListItems)
	}
	for _, value := range slices.Sorted(maps.Keys(o.Roles)) {
		roles := o.Roles[value]
		if value == "" || len(value) > maxName || len(roles) == 0 || len(roles) > len(Roles()) {
			return Invalid("operators: a value has 1 to %d characters, and 1 to %d roles", maxName, len(Roles()))
		}
		if slices.ContainsFunc(roles, func(r Role) bool { return !r.IsOwn() }) {
			return Invalid("operators: a role is not of admin, revoker, validator, auditor")
		}
	}
	return nil
}

// MaxSubject bounds the subject of a Person, in bytes (OpenID Connect Core section 2).
const MaxSubject = 255

// Person is somebody whom a trusted issuer knows.
type Person struct {
	// Issuer is the issuer's id, and Subject its name of the person.
	Issuer  string `json:"issuer" cbor:"1,keyasint,omitempty"`
	Subject string `json:"subject" cbor:"2,keyasint,omitempty"`
}

// ID stands for the person where an API key's id would, and is none.
func (p Person) ID() string {
	sum := sha256.Sum256([]byte(p.Issuer + "\x00" + p.Subject))
	return "jwt_" + idText.EncodeToString(sum[:20])
}

// standardClaims are those of the RFCs: sub and jti (7519), client_id (9068) or azp (OpenID
// Connect Core), sid (OpenID Connect Front-Channel Logout), scope (8693) or scp.
var standardClaims = ClaimNames{
	Subject: []string{"sub"}, JTI: []string{"jti"}, Client: []string{"client_id", "azp"},
	Session: []string{"sid"}, Scopes: []string{"scope", "scp"},
}

// preset is what the tokens of a well-known issuer look like, where that differs.
type preset struct {
	claims   ClaimNames
	types    []string
	required map[string]string
}

// presets fit the access tokens that these put out with their usual settings; for Google, which
// has no JWT access tokens, its ID tokens.
var presets = map[string]preset{
	"auth0": {claims: ClaimNames{Client: []string{"azp", "client_id"}, Scopes: []string{"scope", "permissions"}}, types: []string{"JWT", "at+jwt"}},
	// No aud and no typ; origin_jti is what all tokens of one sign-in share.
	"cognito": {claims: ClaimNames{Session: []string{"origin_jti"}}, required: map[string]string{"token_use": "access"}},
	// ID and refresh tokens are signed with the same keys: the claim typ tells them apart.
	"keycloak": {claims: ClaimNames{Client: []string{"azp", "client_id"}, Session: []string{"sid", "session_state"}}, required: map[string]string{"typ": "Bearer"}},
	"okta":     {claims: ClaimNames{Client: []string{"cid"}, Scopes: []string{"scp"}}},
	// No jti: uti is unique to a token. Delegated permissions are in scp, an application's in roles.
	"entra":   {claims: ClaimNames{JTI: []string{"uti"}, Client: []string{"azp", "appid"}, Scopes: []string{"scp", "roles"}}},
	"google":  {claims: ClaimNames{Client: []string{"azp"}}, required: map[string]string{"azp": "", "aud": ""}},
	"zitadel": {},
	"hydra":   {claims: ClaimNames{Client: []string{"client_id"}, Scopes: []string{"scp", "scope"}}},
}

// Presets are the names of the presets, sorted.
func Presets() []string { return slices.Sorted(maps.Keys(presets)) }

// withPreset fills in what the issuer leaves open: from its preset, then from the RFCs.
func (i Issuer) withPreset() Issuer {
	p := presets[i.Preset]
	i.Claims = i.Claims.or(p.claims).or(standardClaims)
	if len(i.Types) == 0 {
		i.Types = slices.Clone(p.types)
	}
	// What more is required takes nothing of the preset's away.
	required := maps.Clone(p.required)
	if required == nil {
		required = map[string]string{}
	}
	maps.Copy(required, i.Required)
	if i.Required = required; len(required) == 0 {
		i.Required = nil
	}
	return i
}

func (c ClaimNames) or(other ClaimNames) ClaimNames {
	first := func(a, b []string) []string {
		if len(a) > 0 {
			return a
		}
		return slices.Clone(b)
	}
	return ClaimNames{
		Subject: first(c.Subject, other.Subject), JTI: first(c.JTI, other.JTI), Client: first(c.Client, other.Client),
		Session: first(c.Session, other.Session), Scopes: first(c.Scopes, other.Scopes),
	}
}

// checkClaims reports what is wrong with the names of claims, or nil.
func (i *Issuer) checkClaims() error {
	if _, ok := presets[i.Preset]; i.Preset != "" && !ok {
		return Invalid("preset: %q is not one of %s", i.Preset, strings.Join(Presets(), ", "))
	}
	for _, names := range [][]string{i.Claims.Subject, i.Claims.JTI, i.Claims.Client, i.Claims.Session, i.Claims.Scopes} {
		if len(names) > maxClaimNames {
			return Invalid("claims: at most %d names for one thing", maxClaimNames)
		}
		for _, name := range names {
			if name == "" || len(name) > maxName {
				return Invalid("claims: a name must have 1 to %d characters", maxName)
			}
		}
	}
	if len(i.Required) > maxListItems {
		return Invalid("required: at most %d claims", maxListItems)
	}
	for _, name := range slices.Sorted(maps.Keys(i.Required)) {
		value := i.Required[name]
		if name == "" || len(name) > maxName || len(value) > maxURL {
			return Invalid("required: a claim's name must have 1 to %d characters, and its value at most %d", maxName, maxURL)
		}
	}
	return nil
}
