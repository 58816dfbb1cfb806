package node

import (
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"veto/record"
	"veto/replication/index"
)

func TestIndexMetrics(t *testing.T) {
	both := record.DigestKey{}.Digest(record.Name{
		Target: record.TargetSubject, Issuer: "i", Value: "s", And: []record.Part{{Target: record.TargetClient, Value: "c"}},
	}).Class()
	m := &metrics{registry: prometheus.NewRegistry()}
	m.registry.MustRegister(newIndexMetrics(func() index.Stats {
		return index.Stats{
			Classes: []index.ClassStats{
				{Class: record.Class(record.TargetJTI), Revocations: 5, Filtered: true, Bytes: 10}, {Class: both, Revocations: 2, Bytes: 90},
			},
			Settled: index.Settled{Yes: 1, No: 2, Failed: 3},
		}
	}))
	w := httptest.NewRecorder()
	m.handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	for _, want := range []string{
		`veto_revocations_active{target="jti"} 5`, `veto_revocations_active{target="subject_and_client"} 2`,
		`veto_index_filtered{target="jti"} 1`, `veto_index_filtered{target="subject_and_client"} 0`, `veto_index_bytes 100`,
		`veto_index_disk_lookups_total{result="revoked"} 1`, `veto_index_disk_lookups_total{result="not_revoked"} 2`,
		`veto_index_disk_lookups_total{result="error"} 3`,
	} {
		if !strings.Contains(w.Body.String(), want+"\n") {
			t.Errorf("there is no %s in\n%s", want, w.Body)
		}
	}
}

// Of a stream that nobody has set nothing is told, as whoever is told 0 takes it for one that is not read.
func TestReadingIsToldWhereAStreamIsSet(t *testing.T) {
	for want, c := range map[bool]EventsConfig{
		false: {EventsStream: "s"}, true: {EventsStream: "s", EventsNATSURL: "nats://a"},
	} {
		n := &Node{config: Config{EventsConfig: c}}
		if got := slices.ContainsFunc(n.gauges(), func(g gauge) bool { return g.name == "veto_events_reading" }); got != want {
			t.Errorf("%+v: %t", c, got)
		}
	}
}

func TestSecretsBehindTheNewestPepper(t *testing.T) {
	chain := func(n int, ids ...record.PepperID) record.ChainCount {
		return record.ChainCount{Peppers: ids, Secrets: n}
	}
	for name, c := range map[string]struct {
		peppers []record.Pepper
		keys    []record.ChainCount
		want    int
	}{
		"no pepper":  {nil, []record.ChainCount{chain(7)}, 0},
		"all by it":  {[]record.Pepper{{ID: 1}}, []record.ChainCount{chain(7, 1)}, 0},
		"some plain": {[]record.Pepper{{ID: 1}}, []record.ChainCount{chain(7, 1), chain(2)}, 2},
		"two":        {[]record.Pepper{{ID: 2}, {ID: 1}}, []record.ChainCount{chain(7, 1), chain(2, 2), chain(5, 1, 2), chain(1)}, 13},
	} {
		if got := behind(record.PepperStatus{Peppers: c.peppers, Keys: c.keys}); got != c.want {
			t.Errorf("%s: %d, not %d", name, got, c.want)
		}
	}
}

func TestHostMetrics(t *testing.T) {
	m := &metrics{registry: prometheus.NewRegistry()}
	m.registry.MustRegister(newHostMetrics(func() record.NodeHost {
		h := record.NodeHost{NodeEndsAt: time.Unix(1_800_000_000, 0)}
		weigh(t.TempDir(), &h)
		return h
	},
		func() []string { return []string{"alive", "alive", "dead"} }))
	w := httptest.NewRecorder()
	m.handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	for _, want := range []string{
		`veto_certificate_expiry_timestamp_seconds{certificate="node"} 1.8e+09`,
		`veto_members{state="alive"} 2`, `veto_members{state="dead"} 1`, `veto_members{state="left"} 0`,
	} {
		if !strings.Contains(w.Body.String(), want+"\n") {
			t.Errorf("there is no %s in\n%s", want, w.Body)
		}
	}
	if !regexp.MustCompile(`veto_disk_free_bytes [1-9](.|\n)*veto_disk_size_bytes [1-9]`).MatchString(w.Body.String()) {
		t.Errorf("the disk is not in\n%s", w.Body)
	}
}
