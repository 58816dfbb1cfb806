package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"veto/node/httpapi"
	"veto/node/httpapi/gate"
	"veto/node/httpapi/leaks"
	"veto/node/intake"
	"veto/node/leaked"
	"veto/record"
)

// reportRead is how long a report of leaked secrets may take to send.
const reportRead = 30 * time.Second

// reportLeaked takes a report, and has something done about it.
func (x *control) reportLeaked(w http.ResponseWriter, r *http.Request) {
	labels, err := x.leaked(w, r)
	if err != nil {
		x.refuse(w, r, "a report of leaked secrets cannot be taken", err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(labels) // a client that is gone needs no answer
}

func (x *control) leaked(w http.ResponseWriter, r *http.Request) ([]leaks.Label, error) {
	_ = http.NewResponseController(w).SetReadDeadline(x.Now().Add(reportRead)) // without it, the server's own holds
	by, body, err := x.reporter(w, r)
	if err == nil {
		err = unconditional(r.Context())
	}
	if err != nil {
		return nil, err
	}
	if !gate.TurnOf(r.Context()).TakeWithin(r.Context(), turnLimit) {
		return nil, httpapi.Busy()
	}
	found, err := leaks.Parse(body)
	if err == nil && slices.ContainsFunc(found, func(f leaks.Found) bool { return intake.IsCredential(f.Type) }) {
		err = record.Invalid("type: holds a secret")
	}
	if err != nil {
		return nil, err
	}
	if !x.Records.Freshness().Ready {
		return nil, httpapi.NotReady(x.Ready()) // a key that is not here yet would be taken for none
	}
	if x.Records.Locked() {
		return nil, httpapi.PepperLocked() // and so would every key
	}
	from := originOf(r.Context())
	if by == nil {
		from.Way = record.WayScanning
	}
	outcomes, err := x.desk.Take(r.Context(), leaked.Reporter{Key: by, From: from}, found)
	labels := make([]leaks.Label, len(outcomes))
	for n, o := range outcomes {
		if labels[n] = found[n].Answer(o.Known); by != nil { // GitHub's form has no more
			labels[n].Done = o.Done
		}
	}
	return labels, err
}

// reporter is the operator's key that sends the report, or nil if GitHub signed it.
func (x *control) reporter(w http.ResponseWriter, r *http.Request) (by *record.APIKey, body []byte, err error) {
	id, signature := r.Header.Get(leaks.IdentifierHeader), r.Header.Get(leaks.SignatureHeader)
	signed := id != "" || signature != ""
	if signed && len(x.Signers) == 0 {
		return nil, nil, httpapi.New(http.StatusForbidden, "forbidden", "this node knows no keys of who signs reports; give it leaked_keys_signers_file, or send the report with an operator's API key with the role revoker")
	}
	if !signed {
		who, problem := x.operator(r.Header.Get("Authorization"), record.RoleRevoker)
		if problem = x.tooOften(r.Context(), who, problem); problem != nil {
			return nil, nil, problem
		}
		by = who.key
		*r = *r.WithContext(context.WithValue(r.Context(), callerInContext{}, who)) // it is in what is done
	}
	body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, leaks.MaxBody))
	if errors.As(err, new(*http.MaxBytesError)) {
		w.Header().Set("Connection", "close") // what it still sends is not waited for
		return nil, nil, httpapi.New(http.StatusRequestEntityTooLarge, httpapi.CodeOf(http.StatusRequestEntityTooLarge), fmt.Sprintf("a report has at most %d bytes; send it in parts", leaks.MaxBody))
	}
	if err != nil {
		return nil, nil, httpapi.New(http.StatusBadRequest, httpapi.CodeOf(http.StatusBadRequest), "the report was cut off; send it again")
	}
	if signed && !x.Signers.Signed(id, signature, body) {
		if problem := x.stranger(r.Context()); problem != nil {
			return nil, nil, problem
		}
		return nil, nil, httpapi.New(http.StatusUnauthorized, "bad_signature", "none of the keys that this node knows signed these bytes; if GitHub has new ones, renew leaked_keys_signers_file")
	}
	return by, body, nil
}

// describeLeaks completes the API's description.
func (x *control) describeLeaks(api *huma.OpenAPI) {
	schemas := api.Components.Schemas
	o := operation("report-leaked-keys", http.MethodPost, "/v1/keys/leaked", "Report secrets that were found where anyone can read them", record.RoleRevoker)
	o.Description += " In the form of GitHub's secret scanning, whose signature (Github-Public-Key-Identifier, Github-Public-Key-Signature) stands for an operator's key where the node has leaked_keys_signers_file." +
		" What is an API key's is revoked, or marked (leaked_keys, and the last admin's); a portal session's is ended; what is nobody's is a false_positive."
	o.RequestBody = &huma.RequestBody{Content: map[string]*huma.MediaType{"application/json": {Schema: schemas.Schema(typeOf[[]leaks.Found](), true, "Found")}}}
	o.Responses = map[string]*huma.Response{"200": {Description: "A label for each, in their order", Content: map[string]*huma.MediaType{
		"application/json": {Schema: schemas.Schema(typeOf[[]leaks.Label](), true, "Label")},
	}}, "400": {Description: "The report was cut off"}, "401": {Description: "No operator's key, and no signature"}, "403": {Description: "Not the role, or no signers are known"}, "413": {Description: "The report is too long"}, "422": {Description: "Not such a report"}, "503": {Description: "The node is not ready"}, "504": {Description: "It took too long"}}
	for name, doc := range map[string]string{leaks.IdentifierHeader: "Which key signed", leaks.SignatureHeader: "ECDSA on P-256 over the SHA-256 of the body, in base64"} {
		o.Parameters = append(o.Parameters, &huma.Param{Name: name, In: "header", Description: doc, Schema: &huma.Schema{Type: huma.TypeString}})
	}
	slices.SortFunc(o.Parameters, func(a, b *huma.Param) int { return strings.Compare(a.Name, b.Name) })
	api.AddOperation(&o)
}
