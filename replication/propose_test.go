package replication

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"testing"
	"time"

	"veto/record"
	"veto/replication/consensus"
	"veto/replication/peer"
	"veto/replication/roster"
)

// scripted is a leader elsewhere that answers by a list.
type scripted struct {
	net.Listener
	answers []answered
	asked   int
}

// answered is what becomes of one proposal: it is lost after it was sent, or answered.
type answered struct {
	lost bool
	record.Result
}

func (s *scripted) Raft() net.Listener          { return s.Listener }
func (s *scripted) Handle(string, peer.Handler) {}
func (s *scripted) Serve()                      {}
func (s *scripted) DialRaft(string, string, time.Duration) (net.Conn, error) {
	return nil, net.ErrClosed
}

func (s *scripted) Call(context.Context, string, string, string, []byte) ([]byte, error) {
	if s.asked >= len(s.answers) {
		return nil, &peer.RemoteError{Code: "unexpected", Detail: "nobody was to ask again"}
	}
	a := s.answers[s.asked]
	s.asked++
	if a.lost {
		return nil, &peer.CallError{Sent: true, Err: net.ErrClosed}
	}
	return record.Encode(a.Result)
}

func (s *scripted) Members() []roster.Member          { return []roster.Member{{ID: "n1", PeerAddr: "n1"}} }
func (s *scripted) Self() roster.Member               { return roster.Member{ID: "n2"} }
func (s *scripted) Change(func(*roster.Member)) error { return nil }
func (s *scripted) Leave(time.Duration) error         { return nil }
func (s *scripted) Changed() <-chan struct{}          { return nil }

// following is a replica that follows the scripted leader.
func following(t *testing.T, answers ...answered) (*Replica, *scripted) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p, s := newParts(t), &scripted{Listener: l, answers: answers}
	r := &Replica{
		config: Config{ID: "n2", Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler)},
		index:  p.index, view: p.view, peers: s, roster: s, applier: p.applier,
	}
	n, err := consensus.Open(consensus.Config{
		ID: "n2", Dir: t.TempDir(), Address: "n2", Store: p.store, Machine: p.applier, Peers: s, Resolve: r.addressOf,
		Guarded: true, Failed: func(error) {}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	r.consensus.Store(n)
	leader := "n1"
	r.guide.Store(&leader)
	return r, s
}

// R2: a command that was refused at its second try may be done yet by the first, if what was lost of that comes late; so
// nobody says that it was not done.
func TestRefusedAfterALostTryIsUnknown(t *testing.T) {
	lost := answered{lost: true}
	refused := answered{Result: record.Result{Rejection: record.Conflict("no")}}
	gap := answered{Result: record.Result{Rejection: &record.Rejection{Reason: record.ReasonGap, Detail: "before its turn"}}}
	done := answered{Result: record.Result{}}
	keyed := record.Command{Body: record.PutConsumer{Consumer: record.Consumer{ID: "x"}}, Request: record.Request{Key: "once"}}
	plain := record.Command{Body: keyed.Body}
	for name, c := range map[string]struct {
		command record.Command
		answers []answered
		unknown bool
		reason  record.Reason // of the refusal; empty for none
	}{
		"refused at once":                      {keyed, []answered{refused}, false, record.ReasonConflict},
		"lost, then refused":                   {keyed, []answered{lost, refused}, true, ""},
		"lost twice, then refused":             {keyed, []answered{lost, lost, refused}, true, ""},
		"lost, then refused to be tried again": {keyed, []answered{lost, gap}, false, record.ReasonGap},
		"lost, then done":                      {keyed, []answered{lost, done}, false, ""},
		"lost, and not to be done twice":       {plain, []answered{lost}, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, s := following(t, c.answers...)
			_, err := r.Propose(t.Context(), c.command)
			var rejected *record.Rejection
			switch {
			case c.unknown:
				if !errors.Is(err, record.ErrOutcomeUnknown) {
					t.Errorf("%v, and nobody can tell", err)
				}
			case c.reason != "":
				if !errors.As(err, &rejected) || rejected.Reason != c.reason {
					t.Errorf("%v, and it is refused as %s", err, c.reason)
				}
			case err != nil:
				t.Error(err)
			}
			if s.asked != len(c.answers) {
				t.Errorf("the leader was asked %d times of %d", s.asked, len(c.answers))
			}
		})
	}
}

// P14
func TestStreamsMakeRoomForOthers(t *testing.T) {
	revoked := func(n int, issuer string) (all []record.Change) {
		for range n {
			all = append(all, record.Change{Record: &record.Revocation{Name: record.Name{Target: record.TargetJTI, Issuer: issuer}}})
		}
		return all
	}
	of := func(what string, changes []record.Change, awaited bool) {
		t.Helper()
		if got := isAwaited(changes); got != awaited {
			t.Errorf("%s: %t", what, got)
		}
	}
	sent := record.Change{Record: &record.Delivered{}}
	of("nothing", nil, false)
	of("a stream", revoked(4096, "https://i"), false)
	of("the canary", append(revoked(1, record.CanaryIssuer), sent), false)
	of("a revocation", append(revoked(1, "https://i"), sent), true)
	of("as many as a node brings", append(revoked(record.MaxRevocations, "https://i"), sent), true)
	of("a key", []record.Change{{Record: &record.APIKey{}}}, true)

	now := time.Now()
	r := &Replica{config: Config{Now: func() time.Time { return now }}, view: &View{}}
	r.view.level.Store(uint32(record.LevelNewest))
	if n := r.MostLines(); n != record.MaxImport {
		t.Errorf("%d lines while nobody else changes anything", n)
	}
	r.awaited.Store(now.UnixMilli())
	if n := r.MostLines(); n >= record.MaxImport {
		t.Errorf("%d lines beside others", n)
	}
	now = now.Add(othersFor)
	if n := r.MostLines(); n != record.MaxImport {
		t.Errorf("%d lines when others have gone", n)
	}
	for level := record.LevelFirst; level <= record.LevelNewest; level++ {
		r.view.level.Store(uint32(level))
		if n := r.MostLines(); n != record.MaxImportAt(level) {
			t.Errorf("%d lines at level %d", n, level)
		}
	}
}
