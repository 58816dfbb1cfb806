package node

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"veto/node/canary"
	"veto/node/health"
	"veto/node/httpapi/control"
	"veto/node/trace"
	"veto/record"
	"veto/replication"
)

// openCanary lets the canary fly, unless it is switched off.
func (n *Node) openCanary(context.Context) error {
	if n.config.CanaryInterval == 0 {
		return nil
	}
	n.canary = canary.Start(canary.Config{
		Cluster: n.replica, Watcher: n.metrics.propagation, Every: n.config.CanaryInterval,
		Ready: func() bool { return n.view.Freshness().Ready }, NewID: func() string { return newID("canary_") },
		Now: n.around.Now, Log: n.around.Log,
	})
	n.opened(func() error { n.canary.Close(); return nil })
	return nil
}

// watched is the cluster with what this node's canary has seen of it, and what is wrong with it.
type watched struct {
	*replication.Replica
	canary *canary.Canary // nil if it is off
	now    func() time.Time
}

// Status is the cluster as this node sees it. It asks every node and takes up to a second.
func (w watched) Status(ctx context.Context) record.ClusterStatus {
	s := w.Replica.Status(ctx)
	for i := range s.Nodes {
		if w.canary != nil {
			s.Nodes[i].Propagation = w.canary.Propagation(s.Nodes[i].ID)
		}
	}
	return health.Of(s, w.now())
}

// propagation is what the canary sees, for Prometheus. There are as many series as nodes.
type propagation struct {
	took   *prometheus.HistogramVec
	failed *prometheus.CounterVec
}

func newPropagation() *propagation {
	labels := []string{"node", "region"}
	return &propagation{
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "veto_propagation_seconds",
			Help:    "Time from when this node took a revocation of its canary until it had the other node's word that it denies it; the way back is in it.",
			Buckets: []float64{5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1, 2.5, 5, 10},
		}, labels),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "veto_propagation_failures_total", Help: "Revocations of this node's canary that the other node had not confirmed after 10 s.",
		}, labels),
	}
}

// Confirmed makes the series of failures as well: one that is not there cannot be seen to rise.
func (p *propagation) Confirmed(nodeID, region string, took time.Duration) {
	p.took.WithLabelValues(nodeID, region).Observe(took.Seconds())
	p.failed.WithLabelValues(nodeID, region)
}

func (p *propagation) Failed(nodeID, region string) { p.failed.WithLabelValues(nodeID, region).Inc() }

func (p *propagation) Gone(nodeID string) {
	p.took.DeletePartialMatch(prometheus.Labels{"node": nodeID})
	p.failed.DeletePartialMatch(prometheus.Labels{"node": nodeID})
}

// TraceConfig is whom a node tells of the way of requests, and of how many.
type TraceConfig struct {
	// TraceEndpoint is the URL of a collector that takes OTLP over HTTP, such as http://127.0.0.1:4318/v1/traces; nobody is
	// told if it is empty.
	TraceEndpoint string `koanf:"trace_endpoint"`
	// TraceSample is the part of the requests that is told of, 0 to 1. Of one that comes with a traceparent whoever sent
	// that has decided.
	TraceSample float64 `koanf:"trace_sample"`
}

func (c *Config) checkTrace() error {
	if c.TraceSample < 0 || c.TraceSample > 1 || c.TraceSample != c.TraceSample {
		return fmt.Errorf("trace_sample: %g is not between 0 and 1", c.TraceSample)
	}
	if c.TraceEndpoint == "" {
		return nil
	}
	u, err := url.Parse(c.TraceEndpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return errors.New("trace_endpoint: give a URL such as http://127.0.0.1:4318/v1/traces, without a user or password")
	}
	return nil
}

// openTrace begins to tell, if somebody is to be told. It is closed last, and so hears of all.
func (n *Node) openTrace(ctx context.Context) error {
	if n.config.TraceEndpoint == "" {
		return nil
	}
	var err error
	n.trace, err = trace.Open(ctx, trace.Config{
		Endpoint: n.config.TraceEndpoint, Sample: n.config.TraceSample, NodeID: n.config.NodeID, Version: n.around.Version, Log: n.around.Log,
	})
	n.opened(n.trace.Close)
	return err
}

// hear takes a notice of another node.
func (n *Node) hear(x record.Notice) {
	if x.Trace != "" {
		_, end := n.trace.Begin(n.trace.Continue(context.Background(), x.Trace), "notice")
		defer end()
	}
	n.view.Notice(x)
}

// questions tells of questions; nil if nobody is told.
func (n *Node) questions() func(string) func() {
	if n.trace == nil {
		return nil
	}
	return func(carried string) func() {
		_, end := n.trace.Begin(n.trace.Continue(context.Background(), carried), "validate")
		return end
	}
}

// controlTrace and replicaTrace are nil if nobody is told, and no Tracer that is nil: so nothing is done for it.
func (n *Node) controlTrace() control.Tracer {
	if n.trace == nil {
		return nil
	}
	return n.trace
}

func (n *Node) replicaTrace() replication.Tracer {
	if n.trace == nil {
		return nil
	}
	return n.trace
}
