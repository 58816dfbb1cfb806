package data

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"veto/record"
	"veto/validate"
)

// What is read strictly must mean the same to the standard library, and a problem must not
// repeat what was sent.
func FuzzReadBody(f *testing.F) {
	for _, seed := range []string{
		`{"credential": "x", "audience": "a", "scopes": ["r", "w"], "min_revision": 9}`,
		`{"credential": "x", "credential": "y"}`, `{"scopes": [null]}`, `{"a": {"b": [1]}}`, `{`, `null`, `[]`,
		`{"min_revision": 1e3}`, `{"explain": true}`, `{"max_staleness": "1m30s"}`, `{"max_staleness": "-1s"}`, `{"explain": "true"}`, `{"credential": "\ud800"}`, "{\"credential\": \"\xff\"}", `{"credential":"x",}`, ``, `{}`, `{"credential":"a\"b","audience":"\\","scopes":["]\""],"min_revision":7}`, " {\n\"scopes\" :\t[ ] ,\"audience\": \"\\\"}\" } ",
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
			if plainlyGood(raw) {
				t.Fatalf("%q was refused: %s", raw, problem.Detail)
			}
			return
		}
		var reference struct {
			Credential   string   `json:"credential"`
			Audience     string   `json:"audience"`
			Scopes       []string `json:"scopes"`
			MinRevision  uint64   `json:"min_revision"`
			MaxStaleness *string  `json:"max_staleness"`
			Explain      bool     `json:"explain"`
			Cost         uint32   `json:"cost"`
		}
		d := json.NewDecoder(bytes.NewReader(raw))
		d.DisallowUnknownFields()
		if err := d.Decode(&reference); err != nil {
			t.Fatalf("%q was read, and is refused by encoding/json: %v", raw, err)
		}
		if b.Credential != reference.Credential || b.Audience != reference.Audience ||
			uint64(b.MinRevision) != reference.MinRevision || !sameDuration(b.MaxStaleness, reference.MaxStaleness) || b.Explain != reference.Explain || b.Cost != reference.Cost || strings.Join(b.Scopes, "\n") != strings.Join(reference.Scopes, "\n") {
			t.Fatalf("%q: %+v, encoding/json has %+v", raw, b, reference)
		}
	})
}

func sameDuration(d time.Duration, s *string) bool {
	if s == nil {
		return d == 0
	}
	want, err := time.ParseDuration(*s)
	return err == nil && d == want && d > 0
}

// plainlyGood tells of some questions that there is nothing to refuse in them: what the
// standard library reads, written again, is the same bytes.
func plainlyGood(raw []byte) bool {
	var q struct {
		Credential  string   `json:"credential"`
		Audience    string   `json:"audience"`
		Scopes      []string `json:"scopes"`
		MinRevision uint64   `json:"min_revision"`
	}
	if json.Unmarshal(raw, &q) != nil || q.Scopes == nil || len(q.Scopes) > MaxScopes {
		return false
	}
	again, err := json.Marshal(q)
	return err == nil && bytes.Equal(again, raw)
}

// What is unusual and right is read as it is meant.
func TestReadBody(t *testing.T) {
	for raw, want := range map[string]body{
		`{}`: {},
		" {\n\"scopes\" :\t[ ] ,\"audience\": \"a\\\"}\" }\r\n":                  {Audience: `a"}`},
		`{"audience":"\\","credential":"c"}`:                                     {Audience: `\`, Credential: "c"},
		`{"\u0063redential": "\u00e9\n", "min_revision" : 18446744073709551615}`: {Credential: "é\n", MinRevision: 1<<64 - 1},
		`{"max_staleness": "1m0.5s"}`:                                            {MaxStaleness: 60500 * time.Millisecond},
		`{"cost" : 10000}`:                                                       {Cost: 10000},
		`{"scopes":["a","]","}",",","\""],"min_revision":0}`:                     {Scopes: []string{"a", "]", "}", ",", `"`}},
	} {
		got, problem := readBody([]byte(raw))
		if problem != nil || got.Credential != want.Credential || got.Audience != want.Audience ||
			got.MaxStaleness != want.MaxStaleness || got.Cost != want.Cost || got.MinRevision != want.MinRevision || !slices.Equal(got.Scopes, want.Scopes) {
			t.Errorf("%s: %+v, %v", raw, got, problem)
		}
	}
}

type fixed struct{ v validate.Verdict }

func (f fixed) Validate(validate.Request, time.Time) validate.Verdict { return f.v }

func (f fixed) Explain(validate.Request, time.Time) validate.Verdict { return f.v }

func (f fixed) Operator(string, time.Time) (*record.APIKey, validate.Verdict) { return nil, f.v }

// BenchmarkHandler shows what reading and writing cost, beside a handler that does nothing.
func BenchmarkHandler(b *testing.B) {
	s := New(Config{
		Validator: fixed{validate.Verdict{
			Outcome: validate.Allow, Code: validate.OK, Kind: validate.JWT, Issuer: "https://issuer.example", Subject: "sub",
			Claims: validate.JSON(`{"iss":"https://issuer.example","sub":"sub","exp":1}`), AsOf: time.Unix(1, 0),
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
