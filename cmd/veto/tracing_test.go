package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"
)

// receiver takes OTLP over HTTP as collectors do that want a key.
type receiver struct {
	mu      sync.Mutex
	traces  map[string][]string // the steps of each, with their nodes
	raw     bytes.Buffer
	refused int
}

const collectorKey = "Bearer of-the-collector"

func (c *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	c.mu.Lock()
	defer c.mu.Unlock()
	var told collector.ExportTraceServiceRequest
	switch {
	case r.Header.Get("Authorization") != collectorKey:
		c.refused++
		w.WriteHeader(http.StatusUnauthorized)
		return
	case err != nil, r.Method != http.MethodPost, r.URL.Path != "/v1/traces", r.Header.Get("Content-Type") != "application/x-protobuf",
		proto.Unmarshal(body, &told) != nil:
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.raw.Write(body)
	for _, of := range told.GetResourceSpans() {
		about := map[string]string{}
		for _, a := range of.GetResource().GetAttributes() {
			about[a.GetKey()] = a.GetValue().GetStringValue()
		}
		for _, scope := range of.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				trace := fmt.Sprintf("%x", s.GetTraceId())
				c.traces[trace] = append(c.traces[trace], fmt.Sprintf("%s %s: %s", about["service.name"], about["service.instance.id"], s.GetName()))
			}
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// has tells whether one trace has all the steps.
func (c *receiver) has(steps ...string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, trace := range c.traces {
		if !slices.ContainsFunc(steps, func(s string) bool { return !slices.Contains(trace, s) }) {
			return true
		}
	}
	return false
}

// A collector that wants a key is told of a revocation on all nodes, as docs/tracing.md says it is set up, and of no secret.
func TestCollectorIsTold(t *testing.T) {
	told := &receiver{traces: map[string][]string{}}
	server := httptest.NewServer(told)
	defer server.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization="+strings.ReplaceAll(collectorKey, " ", "%20"))
	c := startCluster(t, "--trace-endpoint", server.URL+"/v1/traces", "--trace-sample", "1")
	c.veto(0, "", "consumers", "put", "nobodys-business")
	var key struct{ ID, Secret string }
	if err := json.Unmarshal([]byte(c.veto(0, "", "keys", "create", "--consumer", "nobodys-business")), &key); err != nil {
		t.Fatal(err)
	}
	c.says(1, key.Secret, "ok", exitOK)
	at, leader := 0, c.leader()
	if at == leader {
		at = 1
	}
	c.veto(at, "", "revoke", "key", key.ID, "--wait", "enforced")
	id := func(i int) string { return fmt.Sprintf("veto n%d: ", i+1) }
	want := []string{id(at) + "POST /v1/revocations", id(at) + "revoke", id(at) + "outbox", id(at) + "deliver", id(leader) + "propose", id(leader) + "log"}
	for i := range 3 {
		if i != at {
			want = append(want, id(i)+"notice")
		}
	}
	c.until(fmt.Sprintf("one trace has %q", want), func() bool { return told.has(want...) })
	c.until("a question is told of", func() bool { return told.has(id(1) + "validate") })
	told.mu.Lock()
	defer told.mu.Unlock()
	for _, never := range []string{key.Secret, key.ID, strings.TrimPrefix(c.env[0], "VETO_TOKEN="), "nobodys-business", "of-the-collector"} {
		if strings.Contains(told.raw.String(), never) {
			t.Errorf("%s was told", never)
		}
	}
	if told.refused > 0 {
		t.Errorf("%d times it came without the collector's key", told.refused)
	}
}
