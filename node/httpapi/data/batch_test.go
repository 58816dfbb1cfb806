package data_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"veto/node/httpapi/data"
	"veto/record"
	"veto/validate"
)

// Q6
func TestBatchKeepsItsOrder(t *testing.T) {
	p := start(t)
	var questions []string
	for i := range data.MaxBatch {
		credential := p.secret
		if i%7 == 0 {
			credential = fmt.Sprintf("unknown-%d", i)
		}
		questions = append(questions, fmt.Sprintf(` {"credential": %q, "scopes": ["read"]} `, credential))
	}
	go func() {
		for range data.MaxBatch {
			<-p.seen
		}
	}()
	a := p.send("POST", "/v1/validate/batch", `{"requests": [`+strings.Join(questions, ",")+`]}`)
	var got struct{ Verdicts []validate.Verdict }
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.StatusCode != http.StatusOK || len(got.Verdicts) != data.MaxBatch {
		t.Fatalf("%d, %d verdicts, %v", a.StatusCode, len(got.Verdicts), err)
	}
	for i, v := range got.Verdicts {
		if want := i%7 != 0; (v.Outcome == validate.Allow) != want {
			t.Fatalf("verdict %d: %s", i, v.Outcome)
		}
	}
	if a.Header.Get("Veto-Revision") != "7" {
		t.Errorf("headers %v", a.Header)
	}
}

func TestBadBatches(t *testing.T) {
	p := start(t)
	for body, names := range map[string]string{
		``:                  "not JSON",
		`{}`:                "requests",
		`[]`:                "requests",
		`{"requests": {}}`:  "requests",
		`{"requests": []}`:  "no requests",
		`{"requests": [1]}`: "requests[0]",
		`{"requests": [{"credential": "x"}, {"credential": "x", "aud": "y"}]}`: `requests[1]: there is no field "aud"`,
		`{"requests": [{"credential": "x"}], "requests": []}`:                  "once",
		`{"requests": [{"credential": "x"}], "more": 1}`:                       "no other field",
		`{"requests": [{"credential": "x", "explain": true}]}`:                 "not explained",
		`{"requests": [{"credential": "x", "max_staleness": "soon"}]}`:         "requests[0]: max_staleness must be",
		`{"requests": [{}]}`: "no credential",
		`{"requests": [` + strings.Repeat(`{"credential":"x"},`, data.MaxBatch) + `{"credential":"x"}]}`: "at most 1000",
	} {
		if detail := p.problem(p.send("POST", "/v1/validate/batch", body), 400, "bad_request"); !strings.Contains(detail, names) {
			t.Errorf("%.60s: %q does not name %q", body, detail, names)
		}
	}
	p.problem(p.raw(fmt.Sprintf("POST /v1/validate/batch HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", data.MaxBatchBody+1)), 413, "too_large")
	p.problem(p.send("POST", "/v1/validate/batch?x=1", `{"requests": []}`), 400, "bad_request")
	if len(p.seen) > 0 {
		t.Errorf("%d of these were decided", len(p.seen))
	}
	p.asked.panics("unexpected")
	p.problem(p.send("POST", "/v1/validate/batch", `{"requests": [`+strings.Repeat(`{"credential":"x"},`, 99)+`{"credential":"x"}]}`), 500, "internal")
}

// Q7
func TestOnlyOperatorsHaveItExplained(t *testing.T) {
	p := start(t)
	question := `{"credential": "x.y.z", "explain": true}`
	p.problem(p.send("POST", "/v1/validate", question), 401, "unauthorized")
	p.problem(p.send("POST", "/v1/validate", question, "Authorization", "Bearer "+p.secret), 401, "unauthorized")
	p.problem(p.send("POST", "/v1/validate", `{"explain": true}`, "Authorization", "Bearer "+p.secret), 400, "bad_request")
	p.asked.operator = &record.APIKey{ID: "key_2", Roles: []record.Role{record.RoleAuditor}}
	p.problem(p.send("POST", "/v1/validate", question, "Authorization", "Bearer op"), 403, "forbidden")
	p.asked.operator = &record.APIKey{ID: "key_2", Roles: []record.Role{record.RoleValidator}}
	a := p.send("POST", "/v1/validate", question, "Authorization", "Bearer op")
	var v validate.Verdict
	if err := json.Unmarshal([]byte(a.body), &v); err != nil || v.Code != validate.Malformed || len(v.Checks) < 3 || v.Checks[0].Check != "size" {
		t.Errorf("%d %s %v", a.StatusCode, a.body, err)
	}
	if strings.Contains(p.send("POST", "/v1/validate", `{"credential": "x.y.z", "explain": false}`).body, "checks") {
		t.Error("explained without being asked to")
	}
}
