package node

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"veto/node/httpapi/gate"
	"veto/record"
	"veto/replication/index"
)

// indexMetrics tell of the index. They are read once for all when they are asked for.
type indexMetrics struct {
	stats                         func() index.Stats
	active, filtered, bytes, disk *prometheus.Desc
}

func newIndexMetrics(stats func() index.Stats) *indexMetrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &indexMetrics{
		stats:    stats,
		active:   desc("veto_revocations_active", "Revocations in force, by what they name; about as many where veto_index_filtered is 1, not told while they are read after a start.", "target"),
		filtered: desc("veto_index_filtered", "1 for targets whose revocations are on disk behind a filter, or are still read after a start, 0 where they are in memory.", "target"),
		bytes:    desc("veto_index_bytes", "Memory that tables and filters of revocations take."),
		disk:     desc("veto_index_disk_lookups_total", "Look-ups that a filter left to the disk, by what it said.", "result"),
	}
}

// Describe is of prometheus.Collector.
func (m *indexMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.active, m.filtered, m.bytes, m.disk} {
		to <- d
	}
}

// Collect is of prometheus.Collector.
func (m *indexMetrics) Collect(to chan<- prometheus.Metric) {
	s, bytes := m.stats(), 0
	for _, c := range s.Classes {
		filtered := 0.0
		if c.Filtered {
			filtered = 1
		}
		if !c.Unread { // how many there are is not known yet
			to <- prometheus.MustNewConstMetric(m.active, prometheus.GaugeValue, float64(c.Revocations), c.Class.String())
		}
		to <- prometheus.MustNewConstMetric(m.filtered, prometheus.GaugeValue, filtered, c.Class.String())
		bytes += c.Bytes
	}
	to <- prometheus.MustNewConstMetric(m.bytes, prometheus.GaugeValue, float64(bytes))
	for result, n := range map[string]uint64{"revoked": s.Settled.Yes, "not_revoked": s.Settled.No, "error": s.Settled.Failed} {
		to <- prometheus.MustNewConstMetric(m.disk, prometheus.CounterValue, float64(n), result)
	}
}

// hostMetrics tell of what a node stands on and does not renew by itself: the disk of its data
// directory, its certificates, and the other nodes.
type hostMetrics struct {
	host                       func() record.NodeHost
	members                    func() (states []string)
	free, size, ending, others *prometheus.Desc
}

func newHostMetrics(host func() record.NodeHost, members func() (states []string)) *hostMetrics {
	return &hostMetrics{
		host: host, members: members,
		free:   prometheus.NewDesc("veto_disk_free_bytes", "Room that is left for the node on the disk of its data directory.", nil, nil),
		size:   prometheus.NewDesc("veto_disk_size_bytes", "Size of the disk of the data directory.", nil, nil),
		ending: prometheus.NewDesc("veto_certificate_expiry_timestamp_seconds", "When a certificate ends that the node shows.", []string{"certificate"}, nil),
		others: prometheus.NewDesc("veto_members", "Nodes, with this one, by what gossip says of them.", []string{"state"}, nil),
	}
}

// memberStates are what gossip says of each node.
func (n *Node) memberStates() []string {
	var states []string
	for _, m := range n.roster.Members() {
		states = append(states, m.State)
	}
	return states
}

// Describe is of prometheus.Collector.
func (m *hostMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.free, m.size, m.ending, m.others} {
		to <- d
	}
}

// Collect is of prometheus.Collector.
func (m *hostMetrics) Collect(to chan<- prometheus.Metric) {
	host := m.host()
	if host.DiskSize > 0 { // a disk that does not answer must not take the other numbers with it
		to <- prometheus.MustNewConstMetric(m.free, prometheus.GaugeValue, float64(host.DiskFree))
		to <- prometheus.MustNewConstMetric(m.size, prometheus.GaugeValue, float64(host.DiskSize))
	}
	for what, end := range map[string]time.Time{"node": host.NodeEndsAt, "http": host.HTTPEndsAt} {
		if end.IsZero() {
			continue
		}
		to <- prometheus.MustNewConstMetric(m.ending, prometheus.GaugeValue, float64(end.Unix()), what)
	}
	counts := map[string]int{"alive": 0, "dead": 0, "left": 0}
	for _, state := range m.members() {
		counts[state]++
	}
	for state, count := range counts {
		to <- prometheus.MustNewConstMetric(m.others, prometheus.GaugeValue, float64(count), state)
	}
}

// boundMetrics tell of what was not let in, and of how near that is.
type boundMetrics struct {
	node                                *Node
	refused, open, shed, underWay, rest *prometheus.Desc
}

func newBoundMetrics(n *Node) *boundMetrics {
	return &boundMetrics{
		node:     n,
		refused:  prometheus.NewDesc("veto_connections_refused_total", "Connections that were closed because there was no room for them.", []string{"plane"}, nil),
		open:     prometheus.NewDesc("veto_connections_open", "Connections that are open.", []string{"plane"}, nil),
		shed:     prometheus.NewDesc("veto_requests_shed_total", "Requests that were told to come again, by what there was too much of.", []string{"reason"}, nil),
		underWay: prometheus.NewDesc("veto_control_under_way", "Requests on the control plane that are under way, and those of them that are streams.", []string{"kind"}, nil),
		rest:     prometheus.NewDesc("veto_control_rest", "How many times as long as a turn the control plane's rest after it is, so that validations go first; after a change it is five times that.", nil, nil),
	}
}

// Describe is of prometheus.Collector.
func (m *boundMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.refused, m.open, m.shed, m.underWay, m.rest} {
		to <- d
	}
}

// Collect is of prometheus.Collector.
func (m *boundMetrics) Collect(to chan<- prometheus.Metric) {
	b := m.node.bounds
	for plane, l := range map[string]*gate.Listener{"data": b.data, "control": b.control} {
		to <- prometheus.MustNewConstMetric(m.refused, prometheus.CounterValue, float64(l.Refused()), plane)
		to <- prometheus.MustNewConstMetric(m.open, prometheus.GaugeValue, float64(l.Open()), plane)
	}
	to <- prometheus.MustNewConstMetric(m.rest, prometheus.GaugeValue, b.turns.Rest())
	for kind, p := range map[string]*gate.Places{"requests": b.requests, "imports": b.imports, "exports": b.exports, "streams": b.streams} {
		to <- prometheus.MustNewConstMetric(m.underWay, prometheus.GaugeValue, float64(p.Taken()), kind)
		to <- prometheus.MustNewConstMetric(m.shed, prometheus.CounterValue, float64(p.Refused()), kind)
	}
	for reason, n := range map[string]uint64{
		"caller_rate": b.callers.Refused(), "stranger_rate": b.strangers.Refused(), "turns": b.turns.Refused(),
		"streams_of_one": b.watchers.Refused(), "imports_of_one": b.importers.Refused(), "exports_of_one": b.exporters.Refused(),
		"outbox": m.node.replica.Refused(), "nats": m.node.broadcast.Stats().Busy,
	} {
		to <- prometheus.MustNewConstMetric(m.shed, prometheus.CounterValue, float64(n), reason)
	}
}
