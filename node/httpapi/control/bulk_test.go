package control_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"veto/node/httpapi"
	"veto/node/httpapi/bulk"
	"veto/node/httpapi/control"
	"veto/node/httpapi/gate"
	"veto/node/intake"
	"veto/record"
	"veto/record/trail"
)

const ndjson = "application/x-ndjson"

// progress reads the lines of an answer.
func progress(t *testing.T, text string) []bulk.Progress {
	t.Helper()
	var all []bulk.Progress
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		var p bulk.Progress
		if err := json.Unmarshal([]byte(line), &p); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, p)
	}
	return all
}

func TestStreamsInAndOut(t *testing.T) {
	p := open(t)
	s := newSigner(t)
	p.admin("PUT", "/v1/issuers/demo", `{"issuer": "`+s.iss+`", "jwks": `+string(s.jwks(t))+`}`)
	in := `{"target":"jti","issuer":"i","value":"a","reason":"leaked"}
{"target":"subject","issuer":"i","value":"b","and":[{"target":"client","value":"c"}],"not_before":"2026-01-02T03:04:05Z"}
{"token":"` + s.token(t, map[string]any{"jti": "presented"}) + `"}
{"target":"jti","issuer":"i","value":"a","value":"b"}
{"target":"jti","issuer":"i","value":"d","color":"red"}
{"token":"a.b.c"}
`
	w := p.as(record.RoleRevoker, "POST", "/v1/revocations/bulk", in, "Content-Type", ndjson, "Idempotency-Key", "k")
	if w.Code != 200 || w.Header().Get("Idempotency-Key") != "k" {
		t.Fatalf("%d %v", w.Code, w.Header())
	}
	all := progress(t, w.Body.String())
	var refused []uint64
	for _, one := range all {
		if one.Line > 0 {
			refused = append(refused, one.Line)
		}
	}
	if last := all[len(all)-1]; !last.Done || last.Through != 6 || last.Refused != 3 || len(refused) != 3 || refused[0] != 4 || refused[2] != 6 {
		t.Errorf("%s", w.Body)
	}
	out := p.as(record.RoleAuditor, "GET", "/v1/revocations/export", "")
	lines := strings.Split(strings.TrimSpace(out.Body.String()), "\n")
	if len(lines) != 3 {
		t.Fatalf("%s", out.Body)
	}
	again := open(t)
	w = again.as(record.RoleRevoker, "POST", "/v1/revocations/bulk", out.Body.String(), "Content-Type", ndjson)
	if all := progress(t, w.Body.String()); !all[len(all)-1].Done || all[len(all)-1].Refused != 0 || w.Header().Get("Idempotency-Key") == "" {
		t.Errorf("%s", w.Body)
	}
	if got := again.as(record.RoleAuditor, "GET", "/v1/revocations/export", "").Body; len(got.String()) != len(out.Body.String()) {
		t.Errorf("%s came back as %s", out.Body, got)
	}
}

// codes are what is wrong with a revocation, by each way that it may come.
func (p *plane) codes(taker *intake.Intake, body string) map[string]string {
	p.Helper()
	var single, request struct{ Code string }
	answer, err := taker.Answer(p.Context(), "key_revoker", []byte(body), "", record.Origin{}, time.Second)
	if err = errors.Join(err, json.Unmarshal(answer, &request), json.Unmarshal(p.as(record.RoleRevoker, "POST", "/v1/revocations", body).Body.Bytes(), &single)); err != nil {
		p.Fatal(err)
	}
	line := progress(p.T, p.as(record.RoleRevoker, "POST", "/v1/revocations/bulk", body+"\n", "Content-Type", ndjson).Body.String())[0]
	event := ""
	if err := taker.TakeEvent(p.Context(), intake.Event{Key: "key_revoker", Body: []byte(body)}, time.Second); err != nil {
		event, _, _ = intake.Final(err, 1)
	}
	return map[string]string{"a request": single.Code, "a line": line.Code, "a request over NATS": request.Code, "an event": event}
}

// What is wrong with a revocation has one code, whatever the way it comes.
func TestOneCodeWhateverTheWay(t *testing.T) {
	p := open(t)
	s := newSigner(t)
	p.admin("PUT", "/v1/issuers/demo", `{"issuer": "`+s.iss+`", "jwks": `+string(s.jwks(t))+`}`)
	taker := intake.New(intake.Config{
		Taker: p.cluster, Tokens: p.config.Validator, Revocations: p.cluster, Keys: p.cluster, State: p.cluster, Owners: p.cluster, Cluster: p.cluster, NodeID: "n1", Now: now,
	})
	good := `{"target":"jti","issuer":"` + s.iss + `","value":"a"}`
	with := func(member string) string { return good[:len(good)-1] + "," + member + "}" }
	upTo := func(bytes int) string { return good + strings.Repeat(" ", bytes-len(good)) }
	for _, c := range []struct{ body, code string }{
		{upTo(record.MaxRevocationText), ""},
		{upTo(record.MaxRevocationText + 1), "too_large"},
		{upTo(100_000), "too_large"},
		{"x" + upTo(100_000), "too_large"},
		{"{", "bad_request"},
		{good + "{}", "bad_request"},
		{with(`"value":"b"`), "bad_request"},
		{with(`"reason":"` + "\xff" + `"`), "bad_request"},
		{with(`"color":1e999`), "bad_request"},
		{`{"target":"jti","issuer":"i","value":-1e999}`, "bad_request"},
		{"null", "invalid"},
		{"[]", "invalid"},
		{with(`"color":"red"`), "invalid"},
		{with(`"color":"` + p.secrets[record.RoleAdmin] + `"`), "invalid"},
		{with(`"reason":"` + strings.Repeat("r", 501) + `"`), "invalid"},
		{with(`"reason":"` + p.secrets[record.RoleAdmin] + `"`), "invalid"},
		{with(`"not_before":"yesterday"`), "invalid"},
		{with(`"not_before":"2026-01-01T1:00:00Z"`), "invalid"},
		{with(`"Value":"b"`), "invalid"},
		{with(`"not_before":"0001-01-01T00:00:00Z"`), "invalid"},
		{with(`"and":` + strings.Repeat(`[`, 10) + strings.Repeat(`]`, 10)), "invalid"},
		{`{"target":"everyone"}`, "invalid"},
		{`{"target":"jti","issuer":"i"}`, "invalid"},
		{`{"target":"jti","issuer":"i","value":5}`, "invalid"},
		{`{"token":"` + strings.Repeat("x", 17<<10) + `"}`, "invalid"},
		{`{"token":"a.b.c","target":"jti"}`, "invalid"},
		{`{"token":"a.b.c"}`, "malformed"},
		{`{"token":"` + s.token(t, map[string]any{"exp": now().Add(-time.Hour).Unix()}) + `"}`, "expired"},
	} {
		for way, code := range p.codes(taker, c.body) {
			if code != c.code {
				t.Errorf("%.60s: %q as %s, want %q", c.body, code, way, c.code)
			}
		}
	}
}

// A wrong member has one name, whatever the way, and what is wrong with it is said in the same words.
func TestMembersHaveOneName(t *testing.T) {
	p := open(t)
	const good = `{"target":"subject","issuer":"i","value":"a"`
	for more, want := range map[string]string{
		`,"not_before":"2026-01-01T1:00:00Z"}`: "not_before: ", `,"not_before":"2026-01-01T01:00:00,5Z"}`: "not_before: ", `,"not_before":"yesterday"}`: "not_before: ",
		`,"Value":"b"}`: "Value: unexpected property", `,"color":"red"}`: "color: unexpected property",
		`,"and":[{"target":"client","value":"b","Value":"c"}]}`: "and[0].Value: unexpected property", `,"and":[{"target":"client","value":"b","q":1}]}`: "and[0].q: unexpected property",
	} {
		single := ok[httpapi.Problem](p, p.as(record.RoleRevoker, "POST", "/v1/revocations", good+more), 422).Errors
		line := progress(t, p.as(record.RoleRevoker, "POST", "/v1/revocations/bulk", good+more+"\n", "Content-Type", ndjson).Body.String())[0]
		if len(single) != 1 || single[0].Error() != "body."+line.Detail || !strings.HasPrefix(line.Detail, want) {
			t.Errorf("%s: %+v and %q, want %q", more, single, line.Detail, want)
		}
	}
}

func TestBadStreams(t *testing.T) {
	p := open(t)
	p.problem(p.as(record.RoleRevoker, "POST", "/v1/revocations/bulk", "{}"), 415, "unsupported_media_type")
	p.problem(p.as(record.RoleRevoker, "POST", "/v1/revocations/bulk", "{}", "Content-Type", ndjson, "Idempotency-Key", strings.Repeat("é", 128)), 422, "invalid")
	form := "veto_op_" + strings.Repeat("0aA", 12)
	p.problem(p.as(record.RoleRevoker, "POST", "/v1/revocations/bulk", "{}", "Content-Type", ndjson, "Idempotency-Key", form), 422, "invalid")
	p.problem(p.admin("POST", "/v1/keys", `{"roles": ["revoker"]}`, "Idempotency-Key", form), 422, "invalid")
	p.problem(p.as(record.RoleValidator, "POST", "/v1/revocations/bulk", "{}", "Content-Type", ndjson), 403, "forbidden")
	secret := p.secrets[record.RoleAdmin]
	w := p.as(record.RoleRevoker, "POST", "/v1/revocations/bulk", `{"target":"`+secret+`"}`+"\n"+`{"`+secret+`":1}`, "Content-Type", ndjson)
	if strings.Contains(w.Body.String(), secret[8:]) || strings.Contains(p.log.String(), secret[8:]) {
		t.Errorf("a secret came back: %s", w.Body)
	}
}

// What chooses entries is taken as it is meant, or refused; what is exported says what it is.
func TestExportOfTheTrail(t *testing.T) {
	p := open(t)
	p.problem(p.as(record.RoleAuditor, "GET", "/v1/audit/head", ""), 409, "conflict")
	e := trail.Entry{Revision: 1, Refs: []string{}}
	if _, err := p.cluster.head.Next(&e); err != nil {
		t.Fatal(err)
	}
	head := ok[struct{ Head string }](p, p.as(record.RoleAuditor, "GET", "/v1/audit/head", ""), 200)
	if head.Head != p.cluster.head.String() {
		t.Errorf("%+v", head)
	}
	for query, lines := range map[string]int{"": 6, "?action=revoke": 6, "?action=lift": 1, "?by=cluster": 6, "?ref=x": 1, "?until=2020-01-01T00:00:00Z": 6, "?since=2020-01-01T00:00:00Z": 1} {
		w := p.as(record.RoleAuditor, "GET", "/v1/audit/export"+query, "")
		first, _, _ := strings.Cut(w.Body.String(), "\n")
		if got := strings.Count(w.Body.String(), "\n"); w.Code != 200 || got != lines || strings.Contains(first, "filter") != (query != "") || !strings.Contains(first, head.Head) {
			t.Errorf("%s: %d %s", query, w.Code, w.Body)
		}
	}
	for _, query := range []string{"?by=", "?by=a&by=b", "?since=yesterday", "?since=2020-01-01T1:00:00Z", "?until=2020-01-01T01:00:00,5Z", "?since=0001-01-01T00:00:00Z", "?until=1", "?limit=3", "?by=%zz"} {
		p.problem(p.as(record.RoleAuditor, "GET", "/v1/audit/export"+query, ""), 422, "invalid")
	}
}

// A backup that cannot be begun is refused in words, and one that breaks off is cut off.
func TestBackup(t *testing.T) {
	p := open(t)
	p.problem(p.as(record.RoleAdmin, "GET", "/v1/backup", ""), 409, "conflict")
	p.cluster.backup = func(w io.Writer) error { _, err := io.WriteString(w, "all"); return err }
	w := p.as(record.RoleAdmin, "GET", "/v1/backup", "")
	if w.Code != 200 || w.Body.String() != "all" || w.Header().Get("Content-Type") != "application/octet-stream" {
		t.Errorf("%d %s %v", w.Code, w.Body, w.Header())
	}
	p.cluster.backup = func(w io.Writer) error {
		_, err := io.WriteString(w, "half")
		return errors.Join(err, io.ErrShortWrite)
	}
	defer func() {
		if got := recover(); got != http.ErrAbortHandler { //nolint:errorlint // as net/http compares it
			t.Errorf("it was not cut off: %v", got)
		}
	}()
	p.as(record.RoleAdmin, "GET", "/v1/backup", "")
}

// L14: streams have places of their own, and one more is told so.
func TestStreamsAreBounded(t *testing.T) {
	imports, exports := gate.NewPlaces(1), gate.NewPlaces(1)
	p := open(t, func(c *control.Config) { c.Imports, c.Exports = imports, exports })
	send := func() *httptest.ResponseRecorder {
		return p.as(record.RoleRevoker, "POST", "/v1/revocations/bulk", `{"target":"jti","issuer":"i","value":"a"}`, "Content-Type", ndjson)
	}
	read := func(path string) func() *httptest.ResponseRecorder {
		return func() *httptest.ResponseRecorder { return p.as(record.RoleAuditor, "GET", path, "") }
	}
	for _, c := range []struct {
		places *gate.Places
		ask    func() *httptest.ResponseRecorder
	}{{imports, send}, {exports, read("/v1/revocations/export")}, {exports, read("/v1/audit/export")}} {
		c.places.Take()
		w := c.ask()
		p.problem(w, 503, "busy")
		if w.Header().Get("Retry-After") == "" {
			t.Errorf("%v says not when to come again", w.Header())
		}
		c.places.Leave()
		for range 2 { // and each gives its place back
			if w := c.ask(); w.Code != 200 {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		}
	}
}

// L14: of imports and of exports each operator has so many, and the others theirs.
func TestTransfersOfOneAreBounded(t *testing.T) {
	importers, exporters := gate.NewShares(1), gate.NewShares(1)
	p := open(t, func(c *control.Config) { c.Importers, c.Exporters = importers, exporters })
	p.cluster.backup = func(io.Writer) error { return nil }
	for _, c := range []struct {
		shares       *gate.Shares
		method, path string
		roles        [2]record.Role
	}{
		{importers, "POST", "/v1/revocations/bulk", [2]record.Role{record.RoleRevoker, record.RoleAdmin}},
		{exporters, "GET", "/v1/revocations/export", [2]record.Role{record.RoleAuditor, record.RoleAdmin}},
		{exporters, "GET", "/v1/audit/export", [2]record.Role{record.RoleAuditor, record.RoleAdmin}},
		{exporters, "GET", "/v1/backup", [2]record.Role{record.RoleAdmin}},
	} {
		ask := func(as record.Role) *httptest.ResponseRecorder {
			return p.as(as, c.method, c.path, `{"target":"jti","issuer":"i","value":"a"}`, "Content-Type", ndjson)
		}
		one, other := c.roles[0], c.roles[1]
		c.shares.Take("key_" + string(one))
		w := ask(one)
		refused := p.problem(w, 429, "too_many_transfers")
		if w.Header().Get("Retry-After") == "" || !strings.Contains(refused.Detail, "wait for one") {
			t.Errorf("%v %s: it says not what to do", w.Header(), refused.Detail)
		}
		for range 2 { // and each leaves its place
			if other != "" && ask(other).Code != 200 {
				t.Errorf("%s: another operator is refused", c.path)
			}
		}
		c.shares.Leave("key_" + string(one))
		for range 2 {
			if w := ask(one); w.Code != 200 {
				t.Errorf("%s: %d %s", c.path, w.Code, w.Body)
			}
		}
	}
}

// What chooses nothing takes no query: who asked for some must not take all for it.
func TestStreamsTakeNoQuery(t *testing.T) {
	p := open(t)
	p.cluster.backup = func(w io.Writer) error { _, err := io.WriteString(w, "all"); return err }
	for _, c := range []struct {
		role         record.Role
		method, path string
	}{
		{record.RoleAuditor, "GET", "/v1/revocations/export"}, {record.RoleRevoker, "POST", "/v1/revocations/bulk"}, {record.RoleAdmin, "GET", "/v1/backup"},
	} {
		for _, query := range []string{"?target=jti", "?x", "?="} {
			p.problem(p.as(c.role, c.method, c.path+query, ""), 422, "invalid")
		}
		if w := p.as(c.role, c.method, c.path, "", "Content-Type", ndjson); w.Code != 200 {
			t.Errorf("%s: %d %s", c.path, w.Code, w.Body)
		}
	}
}

// answered sees until when its answer may be written.
type answered struct {
	*httptest.ResponseRecorder
	deadline, until time.Time
}

func (a *answered) SetWriteDeadline(t time.Time) error { a.deadline = t; return nil }
func (a *answered) SetReadDeadline(time.Time) error    { return nil }
func (a *answered) EnableFullDuplex() error            { return nil }

func (a *answered) WriteHeader(code int) {
	a.until = a.deadline
	a.ResponseRecorder.WriteHeader(code)
}

// L14: the server's own deadline has passed when a sender has been silent for as long.
func TestSilentSenderIsTold(t *testing.T) {
	p := open(t)
	r := httptest.NewRequestWithContext(t.Context(), "POST", "/v1/revocations/bulk", io.MultiReader(strings.NewReader(`{"target":`), iotest.ErrReader(os.ErrDeadlineExceeded)))
	r.Header.Set("Content-Type", ndjson)
	r.Header.Set("Authorization", "Bearer "+p.secrets[record.RoleRevoker])
	w := &answered{ResponseRecorder: httptest.NewRecorder()}
	p.handler.ServeHTTP(w, r)
	p.problem(w.ResponseRecorder, 400, "cut_off")
	if !w.until.After(now()) {
		t.Errorf("the answer may be written until %s, and it is %s", w.until, now())
	}
}
