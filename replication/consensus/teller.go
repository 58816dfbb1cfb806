package consensus

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// teller tells followers that an entry is committed. Raft itself tells them with the next entry, or with its
// next beat; an idle follower would hear of a change that late.
//
// What it sends is what Raft may send at any time: an AppendEntries without entries, behind the entry that is
// committed. A follower whose log has that entry has all before it as the leader has them, and applies them; another
// refuses it, and is told again a little later.
type teller struct {
	id   raft.ServerID
	ways *raft.NetworkTransport
	of   atomic.Pointer[raft.Raft] // nil until it runs
	wg   sync.WaitGroup

	mu      sync.Mutex
	newest  committed
	servers []raft.Server          // when that was committed
	telling map[raft.ServerID]bool // that a goroutine does
}

// committed is an entry that is, and the term in which this node led when it knew.
type committed struct{ index, entryTerm, term uint64 }

const (
	leastPause = time.Millisecond
	mostPause  = commitTimeout // by then Raft itself has told it
	// unreachedPause is how long a follower is left alone that could not be reached.
	unreachedPause = time.Second
)

// What came of telling a follower.
type hearing int

const (
	unreached hearing = iota
	heard
	// lacking is a follower that does not have the entry yet, and far one that lacks so many that it will be told with
	// those that Raft sends it next.
	lacking
	far
)

func newTeller(id string, ways *raft.NetworkTransport) *teller {
	return &teller{id: raft.ServerID(id), ways: ways, telling: map[raft.ServerID]bool{}}
}

// serves tells whether this node leads in the term, and the other one is of the configuration.
func (t *teller) serves(id raft.ServerID, term uint64) bool {
	r := t.of.Load()
	return r != nil && r.State() == raft.Leader && r.CurrentTerm() == term && has(r.GetConfiguration().Configuration().Servers, id)
}

func has(servers []raft.Server, id raft.ServerID) bool {
	return slices.ContainsFunc(servers, func(s raft.Server) bool { return s.ID == id })
}

// tell has the followers be told, if this node leads and nothing follows that would tell them. It does not block.
func (t *teller) tell(ctx context.Context, last *raft.Log) {
	r := t.of.Load()
	if r == nil || ctx.Err() != nil {
		return
	}
	at := committed{index: last.Index, entryTerm: last.Term, term: r.CurrentTerm()}
	// The term was the same before and after: so it is the one in which this node led.
	if r.State() != raft.Leader || r.CurrentTerm() != at.term || r.LastIndex() > at.index {
		return
	}
	servers := r.GetConfiguration().Configuration().Servers
	t.mu.Lock()
	defer t.mu.Unlock()
	t.newest, t.servers = at, servers
	for _, s := range servers {
		if s.ID != t.id && !t.telling[s.ID] {
			t.telling[s.ID] = true
			t.wg.Go(func() { t.keepTelling(ctx, s) })
		}
	}
}

// keepTelling tells one follower until it knows the newest, or does not hear.
func (t *teller) keepTelling(ctx context.Context, to raft.Server) {
	for pause := leastPause; ; pause = min(2*pause, mostPause) {
		at, ended := t.last(), false
		switch t.send(to, at) {
		case heard:
			pause, ended = leastPause, true
		case far:
			ended = true
		case lacking:
			ended = pause == mostPause
			wait(ctx, pause)
		case unreached:
			wait(ctx, unreachedPause)
			at, ended = t.last(), true
		}
		if t.isDone(to, at, ended) || ctx.Err() != nil {
			return
		}
	}
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (t *teller) last() committed {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.newest
}

// isDone tells whether nothing is left to be told, or nobody whom to tell; if so, another goroutine may begin.
func (t *teller) isDone(to raft.Server, at committed, ended bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if has(t.servers, to.ID) && (!ended || t.newest != at) {
		return false
	}
	delete(t.telling, to.ID)
	return true
}

// send tells a follower.
func (t *teller) send(to raft.Server, at committed) hearing {
	request := &raft.AppendEntriesRequest{
		RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(t.id), Addr: t.ways.EncodePeer(t.id, t.ways.LocalAddr())},
		Term:      at.term, PrevLogEntry: at.index, PrevLogTerm: at.entryTerm, LeaderCommitIndex: at.index,
	}
	var answer raft.AppendEntriesResponse
	switch err := t.ways.AppendEntries(to.ID, to.Address, request, &answer); {
	case err != nil:
		return unreached
	case answer.Success:
		return heard
	case answer.LastLog+maxAppendEntries < at.index:
		return far
	}
	return lacking
}
