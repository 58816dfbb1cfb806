package control

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"veto/node/httpapi"
	"veto/node/httpapi/gate"
	"veto/record"
)

// rules are an issuer as an operator gives it; its id is in the path.
type rules struct {
	Issuer        string           `json:"issuer" doc:"The exact iss of its tokens"`
	Preset        string           `json:"preset,omitempty" enum:"auth0,cognito,entra,google,hydra,keycloak,okta,zitadel" doc:"Fills in claims, types and required as this issuer has them, where nothing else is said"`
	Discovery     string           `json:"discovery,omitempty" doc:"URL of its metadata document, or auto: where the issuer's own name says (so it is, too, if no source of keys is given)"`
	JWKSURI       string           `json:"jwks_uri,omitempty" doc:"URL of its JWK set"`
	JWKS          json.RawMessage  `json:"jwks,omitempty" doc:"Its JWK set"`
	SharedSecret  sharedSecret     `json:"shared_secret,omitempty" minLength:"1" maxLength:"1400" doc:"The secret of its HMAC signatures, in base64url: at least as long as the hash. It is never shown."`
	Algorithms    []string         `json:"algorithms,omitempty" enum:"RS256,RS384,RS512,PS256,PS384,PS512,ES256,ES384,ES512,EdDSA,HS256,HS384,HS512" doc:"RS256, ES256 and EdDSA if empty; with a shared secret HS256, and only HS"`
	Audiences     []string         `json:"audiences,omitempty" doc:"A token must name one of them; any if empty"`
	Types         []string         `json:"types,omitempty" doc:"Accepted typ headers; any if empty"`
	MaxLifetime   *record.Duration `json:"max_lifetime,omitempty" pattern:"^([0-9]+([.][0-9]+)?(ns|us|ms|s|m|h))+$" patternDescription:"a duration such as 90s or 24h" doc:"Longest exp - iat; 24h if not given"`
	Leeway        *record.Duration `json:"leeway,omitempty" pattern:"^([0-9]+([.][0-9]+)?(ns|us|ms|s|m|h))+$" patternDescription:"a duration such as 90s or 24h" doc:"Clock difference that is forgiven; 30s if not given"`
	MaxStaleness  record.Duration  `json:"max_staleness,omitempty" pattern:"^([0-9]+([.][0-9]+)?(ns|us|ms|s|m|h))+$" patternDescription:"a duration such as 5s" doc:"How old a node's state may be to answer about its tokens, 1s at least; the node's own bound if not given, or if that is stricter. It holds on nodes that serve stale, too"`
	AllowNoExpiry bool             `json:"allow_no_expiry,omitempty" doc:"Admit tokens without exp; revocations are then kept for good"`

	AllowNoIssuedAt bool              `json:"allow_no_issued_at,omitempty" doc:"Admit tokens without iat; revocations are then kept for good"`
	Claims          record.ClaimNames `json:"claims,omitempty" doc:"In which claims its tokens have what Veto looks for; of several the first that is there"`
	Required        map[string]string `json:"required,omitempty" doc:"Claims that a token must have: with this value, or with any if it is empty"`
	Operators       *record.Operators `json:"operators,omitempty" doc:"Which of its tokens are operators', on the control plane: those that name the audience, with the roles that the values of the claim give. None if it is not given"`
}

// issuer is what the rules say of the issuer with the id.
func (b rules) issuer(id string) record.Issuer {
	i := record.Issuer{
		ID: id, Issuer: b.Issuer, Preset: b.Preset, Discovery: b.Discovery, JWKSURI: b.JWKSURI, JWKS: b.JWKS,
		SharedSecret: b.SharedSecret != "", Algorithms: b.Algorithms, Audiences: b.Audiences, Types: b.Types,
		MaxStaleness: b.MaxStaleness, AllowNoExpiry: b.AllowNoExpiry, AllowNoIssuedAt: b.AllowNoIssuedAt,
		Claims: b.Claims, Required: b.Required, Operators: b.Operators,
	}
	if b.MaxLifetime != nil {
		i.MaxLifetime = *b.MaxLifetime
	}
	if b.Leeway != nil {
		i.Leeway = *b.Leeway
	}
	return i.WithDefaults()
}

// sharedSecret tells null from nothing: whoever meant to give a secret must not be given an issuer
// that is trusted by what its name leads to.
type sharedSecret string

// nullSecret is too short to be a secret.
const nullSecret sharedSecret = "null"

// UnmarshalJSON is of json.Unmarshaler.
func (s *sharedSecret) UnmarshalJSON(b []byte) error {
	if *s = nullSecret; string(b) == string(nullSecret) {
		return nil
	}
	return json.Unmarshal(b, (*string)(s))
}

// check refuses what says something that would be taken for nothing.
func (b rules) check() error {
	if b.MaxLifetime != nil && *b.MaxLifetime == 0 || b.Leeway != nil && *b.Leeway == 0 {
		return record.Invalid("max_lifetime and leeway: 0s is none that can be kept; leave it out for the usual one, or give at least 1s")
	}
	if b.SharedSecret == nullSecret {
		return record.Invalid("shared_secret: is null; give the secret, or leave it out")
	}
	return nil
}

// givenKeys are those that the operator gives: of a JWK set, or one for each algorithm from a secret.
func (x *control) givenKeys(b rules, i *record.Issuer) ([]record.SigningKey, error) {
	if len(i.JWKS) > 0 {
		keys, canonical, err := x.ParseJWKS(i.JWKS, i.Algorithms)
		i.JWKS = canonical
		return keys, err
	}
	if !i.SharedSecret {
		return nil, nil
	}
	secret, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(string(b.SharedSecret), "="))
	if err != nil {
		return nil, record.Invalid("shared_secret: is not base64url")
	}
	var keys []record.SigningKey
	for _, alg := range i.Algorithms {
		k := record.SigningKey{Alg: alg, Secret: secret, Status: record.SigningKeyActive}
		if err := k.Check(); err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// IssuerID is in the path of what is about one issuer.
type IssuerID struct {
	ID string `path:"id" pattern:"^[a-z0-9-]{1,63}$" patternDescription:"1 to 63 of a-z, 0-9 and dash"`
}

func (x *control) issuers() {
	register(x, operation("list-issuers", http.MethodGet, "/v1/issuers", "List the trusted issuers", anyOperator), x.listIssuers)
	register(x, operation("get-issuer", http.MethodGet, "/v1/issuers/{id}", "Show a trusted issuer", anyOperator), x.getIssuer)
	put := operation("put-issuer", http.MethodPut, "/v1/issuers/{id}", "Trust an issuer, or change its rules", record.RoleAdmin)
	put.MaxBodyBytes = maxIssuerBody
	register(x, put, x.putIssuer)
	register(x, operation("delete-issuer", http.MethodDelete, "/v1/issuers/{id}", "Trust an issuer no more", record.RoleAdmin), x.deleteIssuer)
	register(x, operation("list-signing-keys", http.MethodGet, "/v1/issuers/{id}/keys", "List an issuer's signing keys", anyOperator), x.listSigningKeys)
	refresh := operation("refresh-issuer", http.MethodPost, "/v1/issuers/{id}/refresh", "Fetch an issuer's keys now", record.RoleAdmin)
	refresh.Errors = append(refresh.Errors, http.StatusBadGateway)
	register(x, refresh, x.refreshIssuer)
}

func (x *control) listIssuers(_ context.Context, _ *struct{}) (*list[record.Issuer], error) {
	all := x.Records.Issuers()
	return pageOf(x, "issuers", all, ""), nil
}

func (x *control) issuer(id string) (record.Issuer, error) {
	for _, i := range x.Records.Issuers() {
		if i.ID == id {
			return i, nil
		}
	}
	return record.Issuer{}, record.NotFound("there is no issuer %s", id)
}

func (x *control) getIssuer(_ context.Context, in *IssuerID) (*recordAnswer[record.Issuer], error) {
	i, err := x.issuer(in.ID)
	return recordAt(i, i.Revision), err
}

func (x *control) putIssuer(ctx context.Context, in *struct {
	IssuerID
	Change
	NoneMatch
	Body rules
},
) (*changedAnswer[record.Issuer], error) {
	i := in.Body.issuer(in.ID)
	if err := errors.Join(in.Body.check(), i.Check()); err != nil {
		return nil, err
	}
	keys, err := x.givenKeys(in.Body, &i)
	if err != nil {
		return nil, err
	}
	result, err := x.propose(ctx, in.Key, in.Body, record.PutIssuer{Issuer: i, Keys: keys})
	if err != nil {
		return nil, err
	}
	stored, _ := x.issuer(i.ID) // its revision is 0 if it is not there
	return changedRecord(x, result, stored, stored.Revision, func(at record.Revision) record.Issuer {
		i.Revision = at
		return i
	})
}

func (x *control) deleteIssuer(ctx context.Context, in *struct {
	IssuerID
	Change
	Match
},
) (*changed, error) {
	result, err := x.propose(ctx, in.Key, in.ID, record.DeleteIssuer{ID: in.ID})
	if err != nil {
		return nil, err
	}
	return changedAt(result), nil
}

func (x *control) listSigningKeys(_ context.Context, in *IssuerID) (*list[record.SigningKey], error) {
	if _, err := x.issuer(in.ID); err != nil {
		return nil, err
	}
	keys, _ := x.Records.SigningKeys(in.ID)
	return pageOf(x, "signing keys", keys.Keys, ""), nil
}

// refreshIssuer answers with what was wrong if the keys could not be fetched: the operator
// who asked is the one to mend it.
func (x *control) refreshIssuer(ctx context.Context, in *IssuerID) (*list[record.SigningKey], error) {
	i, err := x.issuer(in.ID)
	if err != nil {
		return nil, err
	}
	gate.TurnOf(ctx).Leave()
	if err := x.Refresh(ctx, i); err != nil {
		if _, known := httpapi.ProblemOf(err); known {
			return nil, err
		}
		return nil, httpapi.New(http.StatusBadGateway, "issuer_unreachable", err.Error())
	}
	return x.listSigningKeys(ctx, in)
}
