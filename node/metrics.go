package node

import (
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"veto/record"
	"veto/validate"
)

// metrics are the node's numbers for Prometheus. None has a label that a caller can choose.
type metrics struct {
	registry *prometheus.Registry
	verdicts *prometheus.CounterVec
	// counters are those of verdicts by kind and code: to look one up by its labels takes
	// longer than to count.
	counters map[validate.Kind]map[validate.Code]prometheus.Counter
	duration prometheus.Histogram

	propagation *propagation
}

func newMetrics(n *Node) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(), propagation: newPropagation(),
		verdicts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "veto_validations_total", Help: "Verdicts given, by kind of credential, outcome and code.",
		}, []string{"kind", "outcome", "code"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "veto_validation_duration_seconds", Help: "Time to decide, without HTTP.",
			Buckets: []float64{1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 1e-3, 1e-2},
		}),
	}
	m.counters = map[validate.Kind]map[validate.Code]prometheus.Counter{}
	for _, kind := range []validate.Kind{validate.JWT, validate.APIKey} {
		m.counters[kind] = map[validate.Code]prometheus.Counter{}
		for _, code := range validate.Codes {
			m.counters[kind][code] = m.verdicts.WithLabelValues(string(kind), code.Outcome().String(), string(code))
		}
	}
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "veto_build_info", Help: "Always 1."}, []string{"version"})
	build.WithLabelValues(n.around.Version).Set(1)
	m.registry.MustRegister(m.verdicts, m.duration, m.propagation.took, m.propagation.failed, build, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.registry.MustRegister(newIndexMetrics(n.view.Stats))
	for _, g := range n.gauges() {
		m.registry.MustRegister(g.collector())
	}
	m.registry.MustRegister(newHostMetrics(n.host, n.memberStates), newBoundMetrics(n))
	return m
}

type gauge struct {
	name, help string
	value      func() float64
}

// collector is a counter if the name says so: what only grows is asked for by its rate.
func (g gauge) collector() prometheus.Collector {
	if strings.HasSuffix(g.name, "_total") {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: g.name, Help: g.help}, g.value)
	}
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: g.name, Help: g.help}, g.value)
}

// gauges read what the parts know when they are asked; they are asked only once all parts
// are open.
func (n *Node) gauges() []gauge {
	yes := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	all := []gauge{
		{"veto_revision", "Last revision in force on this node.", func() float64 { return float64(n.view.Freshness().Revision) }},
		{"veto_ready", "1 once the node has caught up.", func() float64 { return yes(n.view.Freshness().Ready) }},
		{"veto_staleness_seconds", "Age of the state's as-of time; -1 when unknown.", func() float64 {
			if f := n.view.Freshness(); !f.AsOf.IsZero() {
				return max(f.Age(n.around.Now()).Seconds(), 0)
			}
			return -1
		}},
		{"veto_raft_is_leader", "1 while this node leads.", func() float64 { return yes(n.replica.Leads()) }},
		{"veto_revocations", "Names that are revoked, with those of the canary; after a start without those that are still being read.", func() float64 { return float64(n.view.Stats().Revocations) }},
		{"veto_api_keys", "API keys known.", func() float64 { return float64(n.view.Stats().Keys) }},
		{"veto_leaked_keys", "API keys that go on though a secret of theirs is known where anyone can read it.", func() float64 {
			n, err := n.view.Leaked(n.around.Now())
			if err != nil {
				return -1
			}
			return float64(n)
		}},
		{"veto_pepper_locked", "1 while this node lacks the key that unwraps a pepper, and can check no API key.", func() float64 { return yes(n.view.Locked()) }},
		{"veto_api_key_secrets_behind", "Secrets of API keys that are not stored by the newest pepper alone.", func() float64 { return float64(behind(n.replica.Peppers().Status())) }},
		{"veto_limited_keys", "API keys with limits whose use is counted on this node now.", func() float64 { return float64(n.limiter.Stats().Keys) }},
		{"veto_limit_leases", "API keys of whose rates this node holds a leased share.", func() float64 { return float64(n.limiter.Stats().Leases) }},
		{"veto_limit_overflow_total", "Requests refused because more keys with limits were in use than are counted.", func() float64 { return float64(n.limiter.Stats().Refused) }},
		{"veto_issuers", "Trusted issuers.", func() float64 { return float64(n.view.Stats().Issuers) }},
		{"veto_remembered_tokens", "Verified tokens that are remembered.", func() float64 {
			if n.tokens == nil {
				return 0
			}
			return float64(n.tokens.Len())
		}},
		{"veto_notices_dropped_total", "Early revocations for which there was no room.", func() float64 { return float64(n.view.Stats().NoticesDropped) }},
		{"veto_notices_early", "Revocations enforced ahead of the log now.", func() float64 { return float64(n.view.Stats().Notices) }},
		{"veto_outbox_pending", "Revocations that this node has taken and the log does not have yet.", func() float64 { return float64(n.replica.Pending()) }},
		{"veto_notices_received_total", "Notices and beacons of other nodes.", func() float64 { return float64(n.notices.Stats().Received) }},
		{"veto_notices_unread_total", "Notices and beacons that could not be read, and were dropped.", func() float64 { return float64(n.notices.Stats().Unread) }},
		{"veto_notices_unsent_total", "Notices and beacons that were not sent to a node, as it takes them too slowly, or to none, as they are too long.", func() float64 { return float64(n.notices.Stats().Unsent) }},
		{"veto_notices_nodes", "Other nodes that this one tells of revocations at once, and that answer.", func() float64 { return float64(n.notices.Stats().Nodes) }},
		{"veto_broadcast_dropped_total", "Events, and answers to requests on NATS, that were not sent.", func() float64 { return float64(n.broadcast.Stats().Dropped) }},
		{"veto_broadcast_slow_total", "Times this node fell so far behind requests on NATS that some were dropped.", func() float64 { return float64(n.broadcast.Stats().Slow) }},
		{"veto_events_taken_total", "Events of the stream that were taken and acknowledged.", func() float64 { return float64(n.broadcast.Stats().Taken) }},
		{"veto_events_refused_total", "Events of the stream that were refused, and went to the dead letters.", func() float64 { return float64(n.broadcast.Stats().Buried) }},
		{"veto_backup_last_timestamp_seconds", "When this node last wrote a backup to its end; 0 if it has not since it started.", func() float64 { return float64(n.backups.last.Load()) }},
		{"veto_broadcast_queue", "Events that are to be sent to other systems.", func() float64 { return float64(n.broadcast.Stats().Queued) }},
	}
	if n.config.takesEvents() { // elsewhere a 0 would be an alert
		all = append(all, gauge{
			"veto_events_reading", "1 while this node reads the stream of events; of several nodes the one that leads does. Absent where no stream is set.",
			func() float64 { return yes(n.broadcast.Stats().Reading) },
		})
	}
	return all
}

// behind is how many secrets are not by the newest pepper alone; none while there is no pepper.
func behind(s record.PepperStatus) int {
	var newest record.PepperID
	for _, p := range s.Peppers {
		newest = max(newest, p.ID)
	}
	count := 0
	for _, c := range s.Keys {
		if newest != 0 && (len(c.Peppers) != 1 || c.Peppers[0] != newest) {
			count += c.Secrets
		}
	}
	return count
}

func (m *metrics) observe(v validate.Verdict, took time.Duration) {
	c, ok := m.counters[v.Kind][v.Code]
	if !ok {
		c = m.verdicts.WithLabelValues(string(v.Kind), v.Outcome.String(), string(v.Code))
	}
	c.Inc()
	m.duration.Observe(took.Seconds())
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}
