package node

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"veto/node/canary"
	"veto/node/health"
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
