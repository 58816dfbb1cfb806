package httpapi_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"veto/node/httpapi"
	"veto/record"
)

// node is one that comes to its next revision when it is told to.
type node struct {
	mu      sync.Mutex
	fresh   record.Freshness
	reached chan struct{}
	waits   chan struct{}
}

func (n *node) Freshness() record.Freshness {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.fresh
}

func (n *node) AwaitRevision(ctx context.Context, _ record.Revision) error {
	n.waits <- struct{}{}
	select {
	case <-n.reached:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// H6
func TestWaiting(t *testing.T) {
	n := &node{fresh: record.Freshness{Revision: 7, Ready: true}, reached: make(chan struct{}), waits: make(chan struct{}, 9)}
	w := httpapi.NewWaiting(n, httpapi.Wait{Limit: time.Hour, Most: 1})
	if w.Reach(0) || w.Reach(7) || len(n.waits) != 0 {
		t.Error("it waits for what is here")
	}
	short := make(chan bool)
	go func() { short <- w.Reach(8) }()
	<-n.waits
	if !w.Reach(8) || len(n.waits) != 0 {
		t.Error("more wait than may")
	}
	close(n.reached)
	if <-short {
		t.Error("what came is not here")
	}
	n.reached = make(chan struct{})
	go func() { short <- w.Reach(8) }()
	<-n.waits
	if w.Close(); !<-short || !w.Reach(8) {
		t.Error("it waits for a node that stops")
	}
	for _, wait := range []httpapi.Wait{{Limit: time.Nanosecond, Most: 1}, {Most: 1}} {
		if !httpapi.NewWaiting(n, wait).Reach(8) {
			t.Errorf("%+v: what did not come is here", wait)
		}
	}
	n.fresh.Ready = false
	if httpapi.NewWaiting(n, httpapi.Wait{Limit: time.Hour, Most: 1}).Reach(8) {
		t.Error("a node that is not ready waits")
	}
}
