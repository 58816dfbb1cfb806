package node

import (
	"github.com/prometheus/client_golang/prometheus"

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
		active:   desc("veto_revocations_active", "Revocations in force, by what they name; about as many where veto_index_filtered is 1.", "target"),
		filtered: desc("veto_index_filtered", "1 for targets whose revocations are on disk behind a filter, 0 where they are in memory.", "target"),
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
		to <- prometheus.MustNewConstMetric(m.active, prometheus.GaugeValue, float64(c.Revocations), c.Class.String())
		to <- prometheus.MustNewConstMetric(m.filtered, prometheus.GaugeValue, filtered, c.Class.String())
		bytes += c.Bytes
	}
	to <- prometheus.MustNewConstMetric(m.bytes, prometheus.GaugeValue, float64(bytes))
	for result, n := range map[string]uint64{"revoked": s.Settled.Yes, "not_revoked": s.Settled.No, "error": s.Settled.Failed} {
		to <- prometheus.MustNewConstMetric(m.disk, prometheus.CounterValue, float64(n), result)
	}
}
