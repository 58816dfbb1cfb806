package notices_test

import (
	"log/slog"
	"testing"
	"time"

	"veto/record"
	"veto/replication/notices"
	"veto/replication/peer"
	"veto/test/authority"
)

// node tells and hears by the port for nodes.
type node struct {
	*notices.Notices
	id, addr string
	notices  chan record.Notice
	beacons  chan record.Beacon
}

func startNode(t *testing.T, a *authority.Authority, id string) *node {
	t.Helper()
	identity := peer.Identity{ID: id, Certificate: a.Sign(t, time.Now().Add(time.Hour), id), Authorities: a.Pool}
	m, err := peer.Listen("127.0.0.1:0", identity, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	m.Serve()
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	n := &node{id: id, addr: m.Addr(), notices: make(chan record.Notice, 100), beacons: make(chan record.Beacon, 100)}
	n.Notices = notices.Start(m, notices.Handlers{
		Notice: func(x record.Notice) { n.notices <- x },
		Beacon: func(x record.Beacon) { n.beacons <- x },
	}, slog.New(slog.DiscardHandler))
	t.Cleanup(n.Close)
	return n
}

// meet has each node tell the others, and waits until it can.
func meet(t *testing.T, nodes ...*node) {
	t.Helper()
	for _, n := range nodes {
		others := map[string]string{}
		for _, o := range nodes {
			if o != n {
				others[o.id] = o.addr
			}
		}
		n.To(others)
	}
	for _, n := range nodes {
		until(t, n.id+" reaches the others", func() bool { return n.Stats().Nodes == len(nodes)-1 })
	}
}

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); <-time.After(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in 20 s: %s", what)
		}
	}
}

func notice(rev record.Revision) record.Notice {
	return record.Notice{Cluster: "c", Revision: rev, Revocations: []record.Revocation{{Name: record.Name{Target: record.TargetJTI, Issuer: "i", Value: "v"}}}}
}

func next[T any](t *testing.T, from <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(20 * time.Second):
		t.Fatal("nothing comes")
	}
	return v
}

// P2
func TestWordsReachTheOthers(t *testing.T) {
	a := authority.New(t)
	nodes := []*node{startNode(t, a, "a"), startNode(t, a, "b"), startNode(t, a, "c")}
	meet(t, nodes...)
	sent := notice(7)
	sent.Unkept, sent.Trace = true, "00-trace"
	at := time.Now().UTC().Round(0)
	for i := range 50 {
		sent.First = uint64(i)
		nodes[1].Notice(sent)
	}
	nodes[1].Beacon(record.Beacon{Cluster: "c", Leader: "b", Term: 3, Commit: 9, At: at})
	for _, n := range []*node{nodes[0], nodes[2]} {
		for i := range 50 {
			got := next(t, n.notices)
			if got.First != uint64(i) || got.Revision != 7 || !got.Unkept || got.Trace != "00-trace" || got.Revocations[0].Value != "v" {
				t.Fatalf("%d: %+v", i, got)
			}
		}
		if got := next(t, n.beacons); got.Commit != 9 || !got.At.Equal(at) {
			t.Errorf("%+v", got)
		}
		if s := n.Stats(); s.Received != 51 || s.Unread != 0 {
			t.Errorf("%+v", s)
		}
	}
	if len(nodes[1].notices) != 0 {
		t.Error("a node hears itself")
	}
}

// P9
func TestOnlyWhoIsNamedIsTold(t *testing.T) {
	a := authority.New(t)
	nodes := []*node{startNode(t, a, "a"), startNode(t, a, "b"), startNode(t, a, "c")}
	meet(t, nodes...)
	nodes[0].To(map[string]string{"b": nodes[1].addr, "x": nodes[2].addr}) // c is not x
	until(t, "c is let go", func() bool { return nodes[0].Stats().Nodes == 1 })
	for i := range 20 {
		nodes[0].Notice(notice(record.Revision(i)))
		next(t, nodes[1].notices)
	}
	if n := len(nodes[2].notices); n != 0 {
		t.Errorf("c heard %d", n)
	}
}

// P9
func TestStrangersNeitherTellNorHear(t *testing.T) {
	a := authority.New(t)
	nodes := []*node{startNode(t, a, "a"), startNode(t, a, "b")}
	meet(t, nodes...)
	stranger := startNode(t, authority.New(t), "c")
	stranger.To(map[string]string{"a": nodes[0].addr, "b": nodes[1].addr})
	nodes[0].To(map[string]string{"b": nodes[1].addr, "c": stranger.addr})
	for range 20 {
		stranger.Notice(notice(666))
		nodes[0].Notice(notice(1))
		if got := next(t, nodes[1].notices); got.Revision != 1 {
			t.Fatalf("%+v", got)
		}
	}
	if stranger.Stats().Nodes != 0 || len(stranger.notices)+len(nodes[0].notices) != 0 {
		t.Errorf("%+v, %+v", stranger.Stats(), nodes[0].Stats())
	}
}
