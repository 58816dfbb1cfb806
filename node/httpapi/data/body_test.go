package data

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"veto/validate"
)

// What is read strictly must mean the same to the standard library, and a problem must not
// repeat what was sent.
func FuzzReadBody(f *testing.F) {
	for _, seed := range []string{
		`{"credential": "x", "audience": "a", "scopes": ["r", "w"], "min_revision": 9}`,
		`{"credential": "x", "credential": "y"}`, `{"scopes": [null]}`, `{"a": {"b": [1]}}`, `{`, `null`, `[]`,
		`{"min_revision": 1e3}`, `{"credential": "\ud800"}`, "{\"credential\": \"\xff\"}", `{"credential":"x",}`, ``, `{}`, " {\n\"scopes\" :\t[ ] ,\"audience\": \"\\\"}\" } ",
		`{"\u0063redential": "a\\\"b", "min_revision":18446744073709551615}`, `{"min_revision": -0}`, `{"scopes": ["a", "]", "}"]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, problem := readBody(raw)
		if problem != nil {
			if problem.Status != 400 || problem.Detail == "" || len(problem.Detail) > 200 {
				t.Fatalf("%q: %+v", raw, problem)
			}
			return
		}
		var reference struct {
			Credential  string   `json:"credential"`
			Audience    string   `json:"audience"`
			Scopes      []string `json:"scopes"`
			MinRevision uint64   `json:"min_revision"`
		}
		d := json.NewDecoder(bytes.NewReader(raw))
		d.DisallowUnknownFields()
		if err := d.Decode(&reference); err != nil {
			t.Fatalf("%q was read, and is refused by encoding/json: %v", raw, err)
		}
		if b.Credential != reference.Credential || b.Audience != reference.Audience ||
			uint64(b.MinRevision) != reference.MinRevision || strings.Join(b.Scopes, "\n") != strings.Join(reference.Scopes, "\n") {
			t.Fatalf("%q: %+v, encoding/json has %+v", raw, b, reference)
		}
	})
}

type fixed struct{ v validate.Verdict }

func (f fixed) Validate(validate.Request, time.Time) validate.Verdict { return f.v }

// BenchmarkHandler shows what reading and writing cost, beside a handler that does nothing.
func BenchmarkHandler(b *testing.B) {
	s := New(Config{
		Validator: fixed{validate.Verdict{
			Outcome: validate.Allow, Code: validate.OK, Kind: validate.JWT, Issuer: "https://issuer.example", Subject: "sub",
			Claims: json.RawMessage(`{"iss":"https://issuer.example","sub":"sub","exp":1}`), AsOf: time.Unix(1, 0),
		}},
		Observe: func(validate.Verdict, time.Duration) {}, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	question := []byte(`{"credential": "` + strings.Repeat("x", 700) + `", "audience": "api", "scopes": ["read"]}`)
	for name, handle := range map[string]fasthttp.RequestHandler{
		"empty": func(*fasthttp.RequestCtx) {}, "validate": s.handle,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var ctx fasthttp.RequestCtx
			for b.Loop() {
				ctx.Request.Reset()
				ctx.Response.Reset()
				ctx.Request.Header.SetMethod("POST")
				ctx.Request.SetRequestURI("/v1/validate")
				ctx.Request.SetBody(question)
				handle(&ctx)
			}
		})
	}
}
