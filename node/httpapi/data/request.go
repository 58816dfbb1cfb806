package data

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"veto/node/httpapi"
	"veto/record"
	"veto/validate"
)

// Bounds of a question.
const (
	MaxBody   = 64 << 10
	maxScopes = 100
)

// body is the JSON of POST /v1/validate.
type body struct {
	Credential  string   `json:"credential"`
	Audience    string   `json:"audience"`
	Scopes      []string `json:"scopes"`
	MinRevision uint64   `json:"min_revision"`
}

// readRequest makes a question of an HTTP request: the credential is in the body, or, with an
// empty body, in Authorization or X-API-Key.
func readRequest(r *fasthttp.Request) (validate.Request, *httpapi.Problem) {
	if len(r.URI().QueryString()) > 0 {
		return validate.Request{}, bad("this takes no query parameters; put audience, scopes and min_revision in the body")
	}
	var b body
	raw := r.Body()
	if len(raw) > 0 {
		var problem *httpapi.Problem
		if b, problem = readBody(raw); problem != nil {
			return validate.Request{}, problem
		}
	}
	if problem := fromHeaders(&b, r); problem != nil {
		return validate.Request{}, problem
	}
	if b.Credential == "" {
		return validate.Request{}, bad(`there is no credential; send {"credential": "..."}, or the header Authorization: Bearer, or X-API-Key`)
	}
	return validate.Request{
		Credential: b.Credential, Audience: b.Audience, Scopes: b.Scopes, MinRevision: record.Revision(b.MinRevision),
	}, nil
}

// fromHeaders takes the credential from the headers. Two that differ are refused: which one
// was meant would be a guess.
func fromHeaders(b *body, r *fasthttp.Request) *httpapi.Problem {
	for _, found := range []string{bearer(r.Header.Peek("Authorization")), string(r.Header.Peek("X-API-Key"))} {
		switch {
		case found == "":
		case b.Credential == "":
			b.Credential = found
		case b.Credential != found:
			return bad("there are two different credentials; send one")
		}
	}
	if raw := r.Header.Peek("Veto-Min-Revision"); len(raw) > 0 && b.MinRevision == 0 {
		v, err := strconv.ParseUint(string(raw), 10, 64)
		if err != nil {
			return bad("the header Veto-Min-Revision must be a revision, a whole number")
		}
		b.MinRevision = v
	}
	return nil
}

func bearer(header []byte) string {
	scheme, token, ok := bytes.Cut(header, []byte(" "))
	if !ok || !strings.EqualFold(string(scheme), "Bearer") {
		return ""
	}
	return string(bytes.TrimSpace(token))
}

// readBody reads the JSON strictly. Errors name the member, never its value.
func readBody(raw []byte) (body, *httpapi.Problem) {
	var b body
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&b); err != nil {
		return body{}, bad(describe(err))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return body{}, bad("something follows the JSON object")
	}
	if len(b.Scopes) > maxScopes {
		return body{}, bad(fmt.Sprintf("at most %d scopes", maxScopes))
	}
	return b, nil
}

func describe(err error) string {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		if wrong.Field == "" {
			return "the body must be a JSON object"
		}
		return fmt.Sprintf("%s must be a %s, not a %s", wrong.Field, jsonName(wrong.Type.Kind().String()), wrong.Value)
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return fmt.Sprintf("there is no field %.80s; the fields are credential, audience, scopes and min_revision", name)
	}
	return "the body is not JSON"
}

func jsonName(kind string) string {
	switch kind {
	case "slice":
		return "list of strings"
	case "uint64":
		return "whole number"
	}
	return kind
}

func bad(detail string) *httpapi.Problem {
	return httpapi.New(http.StatusBadRequest, "bad_request", detail)
}
