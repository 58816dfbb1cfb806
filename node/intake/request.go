package intake

import (
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"veto/node/httpapi"
	"veto/record"
	"veto/validate"
	"veto/validate/apikey"
)

// RevokeRequest names what is revoked, or presents the token itself.
type RevokeRequest struct {
	Target    record.Target `json:"target,omitempty" enum:"jti,token,subject,client,session,signing_key,issuer,key,consumer" doc:"What issuer and value name"`
	Issuer    string        `json:"issuer,omitempty" doc:"The iss within which value has its meaning"`
	Value     string        `json:"value,omitempty"`
	And       []record.Part `json:"and,omitempty" maxItems:"3" doc:"What else a token must bear to be denied: of subject, client, session and signing_key, each once"`
	NotBefore *time.Time    `json:"not_before,omitempty" doc:"Deny only what was issued until then"`
	Reason    string        `json:"reason,omitempty" maxLength:"500"`
	Token     string        `json:"token,omitempty" maxLength:"16384" doc:"The JWT itself, instead of target and value"`
}

// Bounds of what is taken in, in bytes.
const (
	maxToken       = 16 << 10
	maxParts       = 3
	requestKeyName = "Idempotency-Key"
)

// Parse reads one request, strictly: two readers must not understand it differently, and what is
// not known here may be what matters.
func Parse(text []byte) (RevokeRequest, error) {
	var r RevokeRequest
	switch {
	case len(text) > record.MaxRevocationText:
		return RevokeRequest{}, httpapi.TooLarge("what asks for a revocation", record.MaxRevocationText)
	case !jsontext.Value(text).IsValid():
		return RevokeRequest{}, httpapi.NotJSON()
	case jsontext.Value(text).Kind() != '{':
		return RevokeRequest{}, record.Invalid(notTaken)
	}
	if err := httpapi.ReadJSON(text, &r); err != nil {
		return RevokeRequest{}, notRead(text, err)
	}
	switch {
	case len(r.Token) > maxToken:
		return RevokeRequest{}, record.Invalid("token: at most %d bytes", maxToken)
	case len(r.And) > maxParts:
		return RevokeRequest{}, record.Invalid("and: at most %d", maxParts)
	}
	for i, p := range r.And {
		if missing := missingOf(p); missing != "" {
			return RevokeRequest{}, record.Invalid("and[%d]: expected required property %s to be present", i, missing)
		}
	}
	return r, nil
}

// missingOf is the first member that a part lacks, empty if none: it says which, before the parts are put in their order.
func missingOf(p record.Part) string {
	switch {
	case p.Target == 0:
		return "target"
	case p.Value == "":
		return "value"
	}
	return ""
}

const notTaken = "this is not a JSON object as POST /v1/revocations takes it"

// notRead says what is wrong with a text that is JSON: in which member, and never what stands there, which may be a
// secret in a wrong place.
func notRead(text []byte, err error) error {
	var wrong *httpapi.FieldError
	switch large := httpapi.ReadJSON(text, new(any)); {
	case errors.As(large, &wrong): // a number that no reader can hold, for which the control plane refuses the whole
		return httpapi.New(http.StatusBadRequest, httpapi.CodeOf(http.StatusBadRequest), wrong.Error())
	case large != nil:
		return large
	}
	if !errors.As(err, &wrong) || wrong.Location == "" {
		return record.Invalid(notTaken)
	}
	return record.Invalid("%s", wrong)
}

// Named turns the request of the key into a revocation. A presented token is verified first: so
// its issuer, its jti and its expiry are known, not claimed. One that is not admitted today may be
// tomorrow, by the time or by its issuer's rules, so it is revoked as well; only one that has
// expired cannot come back.
func (x *Intake) Named(by *record.APIKey, b RevokeRequest) (record.Revocation, error) {
	r, err := x.named(b)
	if err != nil {
		return r, err
	}
	may, err := x.May(by, r.Name)
	if err == nil && !may {
		err = httpapi.New(http.StatusForbidden, "forbidden", "this API key may revoke only what is of the issuers and consumers, and by the targets, that it is bound to")
	}
	return r, err
}

// May tells whether the key's bounds let it revoke what has the name. An API key that is not known
// here is nobody's.
func (x *Intake) May(by *record.APIKey, n record.Name) (bool, error) {
	if n.Target != record.TargetKey || len(by.Consumers) == 0 {
		return by.MayRevoke(n, ""), nil
	}
	k, ok, err := x.Owners.Key(n.Value)
	if err != nil || !ok {
		return false, err
	}
	return by.MayRevoke(n, k.Consumer), nil
}

func (x *Intake) named(b RevokeRequest) (record.Revocation, error) {
	r := record.Revocation{
		Name:   record.Name{Target: b.Target, Issuer: b.Issuer, Value: b.Value, And: b.And}.Canonical(),
		Reason: b.Reason,
	}
	if b.NotBefore != nil {
		// The zero time would read as none, and deny everything.
		if r.NotBefore = b.NotBefore.Truncate(time.Second).UTC(); r.NotBefore.IsZero() {
			return r, record.Invalid("not_before: out of range")
		}
	}
	texts := []string{b.Issuer, b.Value, b.Reason}
	for _, p := range b.And {
		texts = append(texts, p.Value)
	}
	if slices.ContainsFunc(texts, IsCredential) {
		return r, record.Invalid("a credential is where a name should be; send a JWT as token, and name an API key by its id")
	}
	if b.Token == "" {
		return r, r.Check()
	}
	if b.Target != 0 || b.Issuer != "" || b.Value != "" || len(b.And) > 0 || b.NotBefore != nil {
		return r, record.Invalid("give the token, or target and value, not both")
	}
	claims, code := x.Tokens.Inspect(b.Token, x.Now())
	if claims == nil || code == validate.Expired {
		return r, httpapi.New(http.StatusUnprocessableEntity, string(code), tokenRefused(code))
	}
	r.Name = record.Name{Target: record.TargetJTI, Issuer: claims.Issuer, Value: claims.JTI}
	if claims.JTI == "" || len(claims.JTI) > record.MaxNameValue {
		r.Name = claims.TokenName()
	}
	r.Expiry = claims.ExpiresAt
	return r, r.Check()
}

// IsCredential tells whether the text holds something that has the form of a credential. Names
// and reasons are kept and shown, so none may be among them.
func IsCredential(text string) bool {
	return mayHold(text) && credentialForm.MatchString(text) || apikey.Holds(text)
}

// mayHold is whether credentialForm need be asked: it takes long for the millions of values of a stream.
func mayHold(text string) bool {
	return strings.Contains(text, tokenBegins) || strings.Contains(text, apikey.Prefix)
}

// tokenBegins is how the base64url of a JSON object begins.
const tokenBegins = "eyJ"

// credentialForm takes a key with a typo for one, too, where its prefix says what it was to be.
var credentialForm = regexp.MustCompile(tokenBegins + `[\w-]+\.[\w-]+\.|` + apikey.Prefix + `_([a-z0-9]+_)?[0-9A-Za-z]{36}`)

func tokenRefused(code validate.Code) string {
	switch code {
	case validate.Expired:
		return "this token has expired, by this node's clock: it is denied everywhere without a revocation"
	case validate.UnknownSigningKey:
		return "its issuer is trusted, but the key that this token names is not among its keys as they were fetched last (unknown_signing_key); if the key is new, send this again in some seconds; to revoke by name, give target and value"
	}
	return "no trusted issuer signed this token (" + string(code) + "), so there is nothing to revoke; to revoke by name, give target and value"
}
