package health

import (
	"slices"
	"strings"
	"testing"
	"time"

	"veto/record"
)

var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// well is a cluster of voters of which nothing is wrong, the first of which leads.
func well(ids ...string) *record.ClusterStatus {
	s := &record.ClusterStatus{ID: "cluster-1", Leader: ids[0], Revision: 40, Level: 3}
	for _, id := range ids {
		s.Nodes = append(s.Nodes, record.NodeStatus{
			ID: id, Role: record.NodeVoter, Wants: record.NodeVoter, State: "alive", Member: true, Applied: 40, LagMillis: 100, Level: 3, Pepper: record.PepperHeld,
			Host: &record.NodeHost{
				DiskFree: 50, DiskSize: 100, NodeEndsAt: now.AddDate(1, 0, 0), Authorities: []string{"aa"}, Signer: "aa", GossipKeys: []string{"g1"},
			},
		})
	}
	return s
}

func dead(n *record.NodeStatus) {
	n.State, n.LagMillis, n.Level, n.Host, n.Pepper = "dead", -1, 0, nil, ""
}

// H1
func TestProblems(t *testing.T) {
	for name, c := range map[string]struct {
		of      *record.ClusterStatus
		harm    func(s *record.ClusterStatus)
		codes   []string
		canLose int
	}{
		"nothing":         {well("n1", "n2", "n3"), func(*record.ClusterStatus) {}, nil, 1},
		"nothing of five": {well("n1", "n2", "n3", "n4", "n5"), func(*record.ClusterStatus) {}, nil, 2},
		"one node":        {well("n1"), func(*record.ClusterStatus) {}, []string{"note one_node"}, 0},
		"a dead voter":    {well("n1", "n2", "n3"), func(s *record.ClusterStatus) { dead(&s.Nodes[2]) }, []string{"grave voter_missing"}, 0},
		"one of five":     {well("n1", "n2", "n3", "n4", "n5"), func(s *record.ClusterStatus) { dead(&s.Nodes[4]) }, []string{"warning voter_missing"}, 1},
		"alive, and silent": {well("n1", "n2", "n3"), func(s *record.ClusterStatus) {
			dead(&s.Nodes[2])
			s.Nodes[2].State = "alive"
		}, []string{"grave voter_missing"}, 0},
		"dead to gossip":    {well("n1", "n2", "n3"), func(s *record.ClusterStatus) { s.Nodes[2].State = "dead" }, []string{"warning gossip_lost"}, 1},
		"unknown to gossip": {well("n1", "n2", "n3"), func(s *record.ClusterStatus) { s.Nodes[2].State = "unknown" }, []string{"warning gossip_lost"}, 1},
		"no quorum": {well("n1", "n2", "n3"), func(s *record.ClusterStatus) {
			s.Leader = ""
			dead(&s.Nodes[1])
			dead(&s.Nodes[2])
		}, []string{"grave no_leader"}, -1},
		"nobody elected, and so all lag": {well("n1", "n2", "n3"), func(s *record.ClusterStatus) { s.Leader, s.Nodes[1].LagMillis = "", 5001 }, []string{"grave no_leader"}, 1},
		"one votes": {well("n1", "n2"), func(s *record.ClusterStatus) {
			s.Nodes[1].Role, s.Nodes[1].Wants = record.NodeReplica, record.NodeReplica
		}, []string{"warning one_voter"}, 0},
		"one votes yet": {well("n1", "n2"), func(s *record.ClusterStatus) { s.Nodes[1].Role = record.NodeReplica }, nil, 0},
		"four voters":   {well("n1", "n2", "n3", "n4"), func(*record.ClusterStatus) {}, []string{"warning even_voters"}, 1},
		"a waiting one": {well("n1", "n2", "n3", "n4"), func(s *record.ClusterStatus) { s.Nodes[3].Role = record.NodeReplica }, nil, 1},
		"a dead replica": {well("n1", "n2", "n3", "r1"), func(s *record.ClusterStatus) {
			s.Nodes[3].Role = record.NodeReplica
			dead(&s.Nodes[3])
		}, []string{"warning replica_missing"}, 1},
		"one at the door": {well("n1", "n2", "n3", "n4"), func(s *record.ClusterStatus) { s.Nodes[3].Member = false }, []string{"warning not_let_in"}, 1},
		"one lags":        {well("n1", "n2", "n3"), func(s *record.ClusterStatus) { s.Nodes[1].LagMillis = 5001 }, []string{"warning lags"}, 1},
		"one is silent": {well("n1", "n2", "n3"), func(s *record.ClusterStatus) {
			s.Nodes[1].Propagation = &record.Propagation{P50Millis: -1}
		}, []string{"warning silent"}, 1},
		"a wrong clock":      {well("n1", "n2", "n3"), func(s *record.ClusterStatus) { s.Nodes[1].ClockMillis = -2001 }, []string{"warning clock"}, 1},
		"another trail":      {well("n1", "n2", "n3"), func(s *record.ClusterStatus) { s.Nodes[1].Audit = record.AuditDiffers }, []string{"grave audit_differs"}, 1},
		"a locked pepper":    {well("n1", "n2", "n3"), func(s *record.ClusterStatus) { s.Nodes[1].Pepper = record.PepperLocked }, []string{"grave pepper_locked"}, 1},
		"no pepper":          {well("n1", "n2", "n3"), func(s *record.ClusterStatus) { s.Nodes[1].Pepper = record.PepperNone }, []string{"note no_pepper"}, 1},
		"keys that leaked":   {well("n1", "n2", "n3"), func(s *record.ClusterStatus) { s.LeakedKeys = 2 }, []string{"warning leaked_keys"}, 1},
		"an older one":       {well("n1", "n2", "n3"), func(s *record.ClusterStatus) { s.Nodes[1].Level = 2 }, []string{"warning older_nodes"}, 1},
		"ends in 29 days":    {well("n1", "n2", "n3"), func(s *record.ClusterStatus) { s.Nodes[1].Host.NodeEndsAt = now.AddDate(0, 0, 29) }, []string{"warning certificate_ends"}, 1},
		"ends in 5 days":     {well("n1", "n2", "n3"), func(s *record.ClusterStatus) { s.Nodes[1].Host.HTTPEndsAt = now.AddDate(0, 0, 5) }, []string{"grave certificate_ends"}, 1},
		"a full disk":        {well("n1", "n2", "n3"), func(s *record.ClusterStatus) { s.Nodes[1].Host.DiskFree = 9 }, []string{"warning disk_full"}, 1},
		"files in the midst": {well("n1", "n2", "n3"), func(s *record.ClusterStatus) { s.Nodes[1].Host.Unread = "why" }, []string{"warning files_unread"}, 1},
		"a key too early":    {well("n1", "n2"), func(s *record.ClusterStatus) { s.Nodes[1].Host.GossipKeys = []string{"g2", "g1"} }, []string{"grave gossip_key_unknown", "warning even_voters"}, 0},
		"a key in time":      {well("n1", "n2", "n3"), func(s *record.ClusterStatus) { s.Nodes[1].Host.GossipKeys = []string{"g1", "g2"} }, nil, 1},
		"another authority": {well("n1", "n2", "n3"), func(s *record.ClusterStatus) {
			s.Nodes[1].Host.Authorities, s.Nodes[1].Host.Signer = []string{"aa", "bb"}, "bb"
		}, []string{"grave authority_unknown"}, 1},
	} {
		c.harm(c.of)
		got := Of(*c.of, now)
		var codes []string
		for _, p := range got.Problems {
			codes = append(codes, string(p.Severity)+" "+p.Code)
			if p.What == "" || p.Mend == "" {
				t.Errorf("%s: %+v", name, p)
			}
		}
		if !slices.Equal(codes, c.codes) || got.CanLose != c.canLose {
			t.Errorf("%s: %q, and can lose %d", name, codes, got.CanLose)
		}
	}
}

// H1: why a node does not answer is said: one that is down is mended otherwise than one that is refused.
func TestWhyANodeDoesNotAnswer(t *testing.T) {
	for _, ids := range [][]string{{"n1", "n2", "n3"}, {"n1", "n2", "n3", "n4", "n5"}, {"n1", "n2"}} {
		s := well(ids...)
		dead(&s.Nodes[1])
		s.Nodes[1].Why = "connection refused"
		if p := Of(*s, now).Problems[0]; !strings.HasSuffix(p.What, " n2: connection refused.") {
			t.Errorf("%v: %+v", ids, p)
		}
		for refused, mend := range map[record.Refused]string{record.RefusedCertificate: "ca.pem", record.RefusedCluster: "of another cluster"} {
			s.Nodes[1].Why, s.Nodes[1].Refused = "what was heard", refused
			if p := Of(*s, now).Problems[0]; !strings.HasPrefix(p.Mend, "n2 runs, and") || !strings.Contains(p.Mend, mend) {
				t.Errorf("%v: %+v", ids, p)
			}
		}
		s.Nodes[1].Role, s.Nodes[1].Why, s.Nodes[1].Refused = record.NodeReplica, "bad certificate", record.RefusedCertificate
		problems := Of(*s, now).Problems
		at := slices.IndexFunc(problems, func(p record.ClusterProblem) bool { return p.Code == "replica_missing" })
		if p := problems[max(at, 0)]; at < 0 || !strings.HasSuffix(p.What, "bad certificate.") || !strings.HasPrefix(p.Mend, "n2 runs, and") {
			t.Errorf("%v: %+v", ids, problems)
		}
		s.Nodes[1].Member = false
		problems = Of(*s, now).Problems
		at = slices.IndexFunc(problems, func(p record.ClusterProblem) bool { return p.Code == "not_let_in" })
		if p := problems[max(at, 0)]; at < 0 || !strings.HasSuffix(p.What, "bad certificate.") || !strings.HasPrefix(p.Mend, "n2 runs, and") {
			t.Errorf("%v: %+v", ids, problems)
		}
	}
}

// H1: the clock that is wrong is that of the few, also when theirs is the node that was asked.
func TestWhoseClockIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		clocks []int64 // ahead of the first node's, which is asked
		nodes  []string
		says   string
	}{
		"none":                         {[]int64{0, 1900, -50}, nil, ""},
		"one is ahead":                 {[]int64{0, 2500, 100}, []string{"n2"}, "ahead"},
		"one is behind":                {[]int64{0, -9000, 100}, []string{"n2"}, "behind"},
		"the asked is ahead":           {[]int64{0, -5000, -5100}, []string{"n1"}, "ahead"},
		"the asked is behind, of five": {[]int64{0, 60000, 59000, 60100, 59500}, []string{"n1"}, "behind"},
		"one and one":                  {[]int64{0, 7000}, []string{"n1", "n2"}, "7 s apart"},
		"two and two":                  {[]int64{0, 0, 7000, 7000}, []string{"n1", "n2", "n3", "n4"}, "7 s apart"},
	} {
		s := well([]string{"n1", "n2", "n3", "n4", "n5"}[:len(c.clocks)]...)
		for i, ahead := range c.clocks {
			s.Nodes[i].ClockMillis = ahead
		}
		var nodes []string
		for _, p := range Of(*s, now).Problems {
			if p.Code != "clock" {
				continue
			}
			nodes = append(nodes, p.Nodes...)
			if !strings.Contains(p.What, c.says) || p.Mend == "" {
				t.Errorf("%s: %+v", name, p)
			}
		}
		if !slices.Equal(nodes, c.nodes) {
			t.Errorf("%s: it names %v, want %v", name, nodes, c.nodes)
		}
	}
}
