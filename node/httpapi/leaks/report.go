package leaks

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"

	json "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"veto/record"
)

// Bounds of a report.
const (
	MaxBody  = 1 << 20 // in bytes
	MaxItems = record.MaxRevocations
	maxType  = 100 // in bytes
)

// Found is one secret that was found. Members that are not known here are left out, as GitHub may add
// some.
type Found struct {
	Token  string `json:"token" doc:"What was found"`
	Type   string `json:"type" maxLength:"100" doc:"What it was taken for"`
	URL    string `json:"url,omitempty" doc:"Where; may be empty"`
	Source string `json:"source,omitempty" doc:"In what, such as commit"`
}

// Parse reads a report.
func Parse(body []byte) ([]Found, error) {
	var all []Found
	if len(body) > MaxBody || !jsontext.Value(body).IsValid() || jsontext.Value(body).Kind() != '[' || json.Unmarshal(body, &all) != nil {
		// What is wrong is not repeated: there are secrets in it.
		return nil, record.Invalid("this is not a JSON array of objects with token, type, url and source, of at most %d bytes", MaxBody)
	}
	if len(all) == 0 || len(all) > MaxItems {
		return nil, record.Invalid("a report has 1 to %d items", MaxItems)
	}
	for _, f := range all {
		if f.Token == "" || len(f.Type) > maxType {
			return nil, record.Invalid("each item has a token, and a type of at most %d bytes", maxType)
		}
	}
	return all, nil
}

// Where is the address at which the secret was found, if it is one that may be kept: without what
// may be a secret of its own.
func (f *Found) Where() string {
	u, err := url.Parse(f.URL)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return ""
	}
	u.User, u.RawQuery, u.ForceQuery = nil, "", false
	if text := u.String(); len(text) <= record.MaxLeakWhere {
		return text
	}
	return ""
}

// Label says what became of an item.
type Label struct {
	Hash  string `json:"token_hash" doc:"The SHA-256 of the token, in hexadecimal digits"`
	Type  string `json:"token_type"`
	Label string `json:"label" enum:"true_positive,false_positive" doc:"Whether it is, or was, the secret of an API key or of a portal session"`
	Done  string `json:"done,omitempty" enum:"revoked,marked,ended" doc:"What was done, for an operator who reports: the key is revoked; it is marked, and goes on; the portal session is ended. It is not there if nothing needed to be"`
}

// Answer is the label of what was found.
func (f *Found) Answer(real bool) Label {
	sum := sha256.Sum256([]byte(f.Token))
	l := Label{Hash: hex.EncodeToString(sum[:]), Type: f.Type, Label: "false_positive"}
	if real {
		l.Label = "true_positive"
	}
	return l
}
