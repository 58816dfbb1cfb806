package data

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"veto/node/httpapi"
	"veto/record"
	"veto/validate"
)

// MaxBody bounds the body of a question, in bytes.
const MaxBody = 64 << 10

// readRequest makes a question of an HTTP request: the credential is in the body, or, with an
// empty body, in Authorization or X-API-Key. To have it explained, it must be in the body: then
// Authorization is the operator's who asks.
func readRequest(r *fasthttp.Request) (q validate.Request, explain bool, problem *httpapi.Problem) {
	if len(r.URI().QueryString()) > 0 {
		return q, false, bad("this takes no query parameters; put audience, scopes and the rest in the body")
	}
	var b body
	if raw := r.Body(); len(raw) > 0 {
		problem := checkType(r.Header.ContentType())
		if problem == nil {
			b, problem = readBody(raw)
		}
		if problem != nil {
			return q, false, problem
		}
	}
	if !b.Explain && !isChunked(r) {
		problem = b.fromHeaders(r)
	}
	if problem == nil {
		problem = b.minRevision(r)
	}
	if problem == nil && b.Credential == "" && !b.given {
		problem = bad(`there is no credential; send {"credential": "..."}, or the header Authorization: Bearer, or X-API-Key`)
	}
	return b.question(), b.Explain, problem
}

func (b *body) question() validate.Request {
	return validate.Request{
		Credential: b.Credential, Audience: b.Audience, Scopes: b.Scopes, MinRevision: b.MinRevision, MaxStaleness: b.MaxStaleness,
		Cost: b.Cost,
	}
}

// checkType refuses a body that says that it is something other than JSON.
func checkType(header []byte) *httpapi.Problem {
	kind, _, _ := strings.Cut(string(header), ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	if kind == "" || kind == "application/json" {
		return nil
	}
	const status = http.StatusUnsupportedMediaType
	return httpapi.New(status, httpapi.CodeOf(status), "send the body as JSON, with Content-Type: application/json")
}

// fromHeaders takes the credential from the headers. Two that differ are refused: which one
// was meant would be a guess.
func (b *body) fromHeaders(r *fasthttp.Request) *httpapi.Problem {
	for _, raw := range r.Header.PeekAll("Authorization") {
		token, ok := bearer(raw)
		if !ok {
			continue // another scheme is for someone else, such as a proxy
		}
		if problem := b.take(token); problem != nil {
			return problem
		}
	}
	for _, raw := range r.Header.PeekAll("X-API-Key") {
		if problem := b.take(string(raw)); problem != nil {
			return problem
		}
	}
	return nil
}

// chunkedMark is set on a request whose body comes in chunks. Fields may come behind such a body, in
// its trailer, where no proxy looks for them, and cannot be told from the header's: so nothing is
// taken from the header then (RFC 9110 section 6.5.1).
const chunkedMark = "Veto-Chunked"

// unclearMark is set on a request whose header others may read in another way.
const unclearMark = "Veto-Unclear"

// isClear tells whether everybody reads the fields of the header in the same way: whoever does not see where a request ends takes
// a part of it for the next one, which may be somebody else's. What fasthttp refuses by itself does not come here.
func isClear(fields []byte) bool {
	ends := 0
	for len(fields) > 0 {
		line, rest, whole := bytes.Cut(fields, []byte("\n"))
		fields = rest
		if whole && !bytes.HasSuffix(line, []byte("\r")) {
			return false
		}
		if line = bytes.TrimSuffix(line, []byte("\r")); len(line) == 0 {
			continue // behind the last one
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || bytes.ContainsAny(name, " \t") { // a line that goes on begins with one
			return false
		}
		chunks := bytes.EqualFold(name, []byte("Transfer-Encoding"))
		if chunks && !bytes.EqualFold(bytes.Trim(value, " \t"), []byte("chunked")) {
			return false
		}
		if chunks || bytes.EqualFold(name, []byte("Content-Length")) {
			ends++
		}
	}
	return ends <= 1
}

func isChunked(r *fasthttp.Request) bool { return len(r.Header.Peek(chunkedMark)) > 0 }

func (b *body) minRevision(r *fasthttp.Request) *httpapi.Problem {
	if isChunked(r) && len(r.Header.Peek(httpapi.MinRevisionHeader)) > 0 {
		return bad("with a chunked body, min_revision must be in the body")
	}
	for _, raw := range r.Header.PeekAll(httpapi.MinRevisionHeader) {
		v, err := strconv.ParseUint(string(raw), 10, 64)
		if err != nil {
			return bad("the header Veto-Min-Revision must be a revision, a whole number")
		}
		b.MinRevision = max(b.MinRevision, record.Revision(v))
	}
	return nil
}

func (b *body) take(credential string) *httpapi.Problem {
	switch {
	case credential == "":
		return bad("a header for the credential is there and empty")
	case b.Credential != "" && b.Credential != credential:
		return bad("there are two different credentials; send one")
	}
	b.Credential = credential
	return nil
}

func bearer(header []byte) (string, bool) {
	scheme, token, ok := bytes.Cut(header, []byte(" "))
	return string(bytes.TrimSpace(token)), ok && strings.EqualFold(string(scheme), "Bearer")
}
