package node_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"veto/node"
)

// spans are what a collector was told: of each its id, who told of it, and its parent.
type spans struct {
	mu   sync.Mutex
	all  map[string]span
	raw  bytes.Buffer
	came chan struct{}
}

type span struct{ name, node, trace, parent string }

// collect is a collector that takes OTLP over HTTP.
func collect(t *testing.T) (*spans, string) {
	t.Helper()
	s := &spans{all: map[string]span{}, came: make(chan struct{}, 1000)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var told collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &told)
		}
		if err != nil {
			t.Error(err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.raw.Write(body)
		for _, of := range told.GetResourceSpans() {
			node := ""
			for _, a := range of.GetResource().GetAttributes() {
				if a.GetKey() == "service.instance.id" {
					node = a.GetValue().GetStringValue()
				}
			}
			for _, scope := range of.GetScopeSpans() {
				for _, one := range scope.GetSpans() {
					s.all[fmt.Sprintf("%x", one.GetSpanId())] = span{one.GetName(), node, fmt.Sprintf("%x", one.GetTraceId()), fmt.Sprintf("%x", one.GetParentSpanId())}
				}
			}
		}
		s.came <- struct{}{}
	}))
	t.Cleanup(server.Close)
	return s, server.URL + "/v1/traces"
}

// lacks is what of the trace was not told yet.
func (s *spans) lacks(want []string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(want), func(w string) bool {
		for _, one := range s.all {
			if w == one.name || w == one.name+" on "+one.node {
				return true
			}
		}
		return false
	})
}

// X1, X2: of all that the nodes do only what was asked for with a sampled trace is told of, as one trace, and nothing
// of what was asked.
func TestRevocationIsOneTrace(t *testing.T) {
	told, url := collect(t)
	s := tellOf(t, 3, func(c *node.Config) { c.TraceEndpoint, c.TraceSample, c.CanaryInterval = url, 0, time.Second })
	s.trustDemoIssuer(0)
	leader := 0
	status, err := s.at(0).Cluster(s.ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if s.cluster.NodeConfig(i).NodeID == status.Leader {
			leader = i
		}
	}
	at := (leader + 1) % 3
	const trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	const secretJTI = "jti-that-is-nobodys-business"
	r, err := http.NewRequestWithContext(s.ctx, http.MethodPost, s.cluster.Control(at)+"/v1/revocations?wait=enforced",
		strings.NewReader(`{"target":"jti","issuer":"`+s.cluster.Issuer().URL()+`","value":"`+secretJTI+`","reason":"leaked"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+s.cluster.AdminToken())
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Traceparent", "00-"+trace+"-"+parent+"-01")
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = w.Body.Close()
	if w.StatusCode != 201 {
		t.Fatal(w.Status)
	}
	id := func(i int) string { return s.cluster.NodeConfig(i).NodeID }
	want := []string{"POST /v1/revocations on " + id(at), "revoke on " + id(at), "outbox on " + id(at), "deliver on " + id(at), "propose on " + id(leader), "log on " + id(leader)}
	for i := range 3 {
		if i != at {
			want = append(want, "notice on "+id(i))
		}
	}
	for lacks := told.lacks(want); len(lacks) > 0; lacks = told.lacks(want) {
		select {
		case <-told.came:
		case <-s.ctx.Done():
			t.Fatalf("nobody told of %q; told was %v", lacks, told.all)
		}
	}
	told.mu.Lock()
	defer told.mu.Unlock()
	for id, one := range told.all {
		if _, ok := told.all[one.parent]; one.trace != trace || !ok && one.parent != parent {
			t.Errorf("%s %+v is of another trace", id, one)
		}
	}
	for _, never := range []string{secretJTI, s.cluster.AdminToken(), s.cluster.Issuer().URL(), "leaked"} {
		if strings.Contains(told.raw.String(), never) {
			t.Errorf("%s was told", never)
		}
	}
}
