package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"veto/node/health"
	"veto/record"
)

// clusters are clusters in a bad state, as a node would tell of them on 1 May 2026.
var clusters = map[string]func(s *record.ClusterStatus){
	"well": func(*record.ClusterStatus) {},
	"dead-voter": func(s *record.ClusterStatus) {
		silent(&s.Nodes[2])
	},
	"no-quorum": func(s *record.ClusterStatus) {
		s.Leader = ""
		silent(&s.Nodes[1])
		silent(&s.Nodes[2])
		s.Nodes[0].Pending = 3
	},
	"even": func(s *record.ClusterStatus) {
		fourth := s.Nodes[2]
		fourth.ID, fourth.Address = "n4", "10.0.0.4:7772"
		s.Nodes = append(s.Nodes, fourth)
	},
	"lagging": func(s *record.ClusterStatus) {
		far := s.Nodes[2]
		far.ID, far.Region, far.Address, far.Role, far.Wants = "r1", "ap", "10.1.0.1:7772", record.NodeReplica, record.NodeReplica
		far.Applied, far.LagMillis = 12, 72_000
		s.Nodes = append(s.Nodes, far)
	},
	"ending": func(s *record.ClusterStatus) { s.Nodes[1].Host.NodeEndsAt = noon.AddDate(0, 0, 5) },
	"older": func(s *record.ClusterStatus) {
		s.Nodes[2].Level, s.Nodes[2].Version = 2, "1.0"
		waiting := s.Nodes[1]
		waiting.ID, waiting.Address, waiting.Role = "n4", "10.0.0.4:7772", record.NodeReplica
		s.Nodes = append(s.Nodes, waiting)
	},
}

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func silent(n *record.NodeStatus) {
	*n = record.NodeStatus{ID: n.ID, Role: n.Role, Address: n.Address, Member: true, State: "dead", LagMillis: -1, Version: n.Version}
}

// serves has a control plane tell of a cluster, at which the commands that follow ask.
func serves(ts *testscript.TestScript, _ bool, args []string) {
	s := record.ClusterStatus{ID: "cluster-1", Leader: "n1", Revision: 40, Level: 3}
	for i, id := range []string{"n1", "n2", "n3"} {
		s.Nodes = append(s.Nodes, record.NodeStatus{
			ID: id, Role: record.NodeVoter, Wants: record.NodeVoter, Region: "eu", Address: "10.0.0." + id[1:] + ":7772", State: "alive", Member: true,
			Applied: 40, LagMillis: 100, Level: 3, Version: "1.1", Pepper: record.PepperHeld, ClockMillis: int64(3 * i),
			Host: &record.NodeHost{DiskFree: 60, DiskSize: 100, NodeEndsAt: noon.AddDate(1, 0, 0), Authorities: []string{"5f1a3b77"}, Signer: "5f1a3b77", GossipKeys: []string{"90aa41c2"}},
		})
	}
	clusters[args[0]](&s)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(health.Of(s, noon))
	}))
	ts.Defer(server.Close)
	ts.Setenv("VETO_ADDRESS", server.URL)
}
