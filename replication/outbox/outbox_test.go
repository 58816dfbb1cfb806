package outbox_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"veto/record"
	"veto/replication/outbox"
	"veto/replication/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// log is the cluster's, as an outbox sees it: it knows what it has by number, loses proposals,
// and loses answers.
type log struct {
	mu      sync.Mutex
	random  *mathrand.Rand
	trouble float64
	through uint64
	has     []string
}

var errLost = errors.New("no answer")

func (l *log) deliver(_ context.Context, d record.Deliver) (record.Result, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.random.Float64() < l.trouble {
		return record.Result{}, errLost
	}
	r := record.Result{Revision: record.Revision(len(l.has) + 1), Before: l.through}
	for i, item := range d.Items {
		if number := d.First + uint64(i); number > l.through {
			l.has, l.through = append(l.has, item.Revocation.Value), number
		}
	}
	if l.random.Float64() < l.trouble {
		return record.Result{}, errLost
	}
	return r, nil
}

// node is a disk, and the outbox of a process that is started again and again.
type node struct {
	t    *testing.T
	dir  string
	log  *log
	disk *store.Outbox
	box  *outbox.Outbox

	mu   sync.Mutex
	told []string
}

func (n *node) start() {
	n.t.Helper()
	var err error
	if n.disk, err = store.OpenOutbox(n.dir, rand.Reader, store.Options{Log: slog.New(slog.DiscardHandler)}); err != nil {
		n.t.Fatal(err)
	}
	n.log.mu.Lock()
	passed := n.log.through
	n.log.mu.Unlock()
	pending, next, err := n.disk.Load(passed)
	if err != nil {
		n.t.Fatal(err)
	}
	n.box = outbox.Open(outbox.Config{
		ID: n.disk.ID(), Disk: n.disk, Deliver: n.log.deliver, Log: slog.New(slog.DiscardHandler),
		Coming: nothing,
		Kept: func(first uint64, items []record.Taken) {
			n.mu.Lock()
			defer n.mu.Unlock()
			for _, item := range items {
				if !slices.Contains(n.told, item.Revocation.Value) {
					n.told = append(n.told, item.Revocation.Value)
				}
			}
		},
	}, pending, next)
}

func (n *node) stop() {
	n.t.Helper()
	n.box.Close()
	if err := n.disk.Close(); err != nil {
		n.t.Fatal(err)
	}
}

func item(value string) record.Taken {
	return record.Taken{Revocation: record.Revocation{Name: record.Name{Target: record.TargetSubject, Issuer: "i", Value: value}}}
}

// P7
func TestTakenIsDeliveredOnce(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			l := &log{random: mathrand.New(mathrand.NewPCG(seed, 1)), trouble: 0.4}
			n := &node{t: t, dir: t.TempDir(), log: l}
			taken := map[string]bool{}
			for life := range 4 {
				n.start()
				var mu sync.Mutex
				var wg sync.WaitGroup
				for w := range 8 {
					wg.Go(func() {
						for i := range 5 {
							value := fmt.Sprint(life, w, i)
							if _, err := n.box.Take(t.Context(), item(value)); err != nil {
								t.Error(err)
								return
							}
							mu.Lock()
							taken[value] = true
							mu.Unlock()
						}
					})
				}
				wg.Wait()
				n.stop()
			}
			l.trouble = 0
			n.start()
			last, err := n.box.Take(t.Context(), item("last"))
			if err != nil {
				t.Fatal(err)
			}
			<-last.Decided
			n.stop()
			delete(taken, "last")
			seen := map[string]int{}
			for _, value := range l.has {
				seen[value]++
			}
			for value := range taken {
				if seen[value] != 1 {
					t.Errorf("%s was taken, and is in the log %d times", value, seen[value])
				}
			}
			if len(seen) != len(taken)+1 {
				t.Errorf("%d in the log, %d taken", len(seen)-1, len(taken))
			}
		})
	}
}

// slowDisk lets nothing become durable until it is told to.
type slowDisk struct {
	outbox.Disk
	allow chan struct{}
}

func (d slowDisk) Append(uint64, []record.Taken) error {
	<-d.allow
	return nil
}

func (d slowDisk) Remove(uint64) error { return nil }

// O1
func TestKeptBeforeTold(t *testing.T) {
	allow, coming, told := make(chan struct{}), make(chan uint64, 10), make(chan uint64, 10)
	box := outbox.Open(outbox.Config{
		ID: record.OutboxID{1}, Disk: slowDisk{allow: allow}, Log: slog.New(slog.DiscardHandler),
		Coming: func(first uint64, _ []record.Taken) { coming <- first },
		Kept:   func(first uint64, _ []record.Taken) { told <- first },
		Deliver: func(_ context.Context, d record.Deliver) (record.Result, error) {
			return record.Result{Revision: 9}, nil
		},
	}, nil, 5)
	defer box.Close()
	answered := make(chan *outbox.Ticket)
	go func() {
		ticket, err := box.Take(t.Context(), item("a"))
		if err != nil {
			t.Error(err)
		}
		answered <- ticket
	}()
	if first := <-coming; first != 5 { // the disk has not got it yet
		t.Errorf("coming as number %d", first)
	}
	select {
	case <-told:
		t.Fatal("told before it was durable")
	case <-answered:
		t.Fatal("answered before it was durable")
	case allow <- struct{}{}:
	}
	if first := <-told; first != 5 {
		t.Errorf("told as number %d", first)
	}
	ticket := <-answered
	<-ticket.Decided
	if out := ticket.Outcome(); ticket.Number != 5 || out.Revision != 9 || out.Rejection != nil {
		t.Errorf("%d: %+v", ticket.Number, out)
	}
}

// What the log had already is decided where it is applied.
func TestDecidedByWhatIsApplied(t *testing.T) {
	rejection := record.Rejection{Reason: record.ReasonNotFound, Detail: "no"}
	answer := make(chan struct{})
	box := outbox.Open(outbox.Config{
		ID: record.OutboxID{1}, Disk: slowDisk{allow: closed()}, Log: slog.New(slog.DiscardHandler),
		Coming: nothing, Kept: nothing,
		Deliver: func(_ context.Context, d record.Deliver) (record.Result, error) {
			<-answer
			return record.Result{Revision: 12, Before: d.First}, nil
		},
	}, nil, 1)
	defer box.Close()
	ticket, err := box.Take(t.Context(), item("a"))
	if err != nil {
		t.Fatal(err)
	}
	box.Delivered(record.Delivered{Outbox: record.OutboxID{2}, Through: 9}, 10) // another's
	box.Delivered(record.Delivered{Outbox: record.OutboxID{1}, Through: 1, Refused: []record.Refusal{{Number: 1, Rejection: rejection}}}, 11)
	<-ticket.Decided
	if out := ticket.Outcome(); out.Revision != 11 || out.Rejection == nil || *out.Rejection != rejection {
		t.Errorf("%+v", out)
	}
	close(answer)
	if box.Pending() != 0 {
		t.Error("still pending")
	}
}

// Of what is in a state that this node was given, it is known that the log has it, and no more.
func TestRestoredIsUnsure(t *testing.T) {
	box := outbox.Open(outbox.Config{
		ID: record.OutboxID{1}, Disk: slowDisk{allow: closed()}, Log: slog.New(slog.DiscardHandler),
		Coming: nothing, Kept: nothing,
		Deliver: func(ctx context.Context, _ record.Deliver) (record.Result, error) {
			<-ctx.Done()
			return record.Result{}, ctx.Err()
		},
	}, nil, 1)
	defer box.Close()
	var tickets [2]*outbox.Ticket
	for i := range tickets {
		var err error
		if tickets[i], err = box.Take(t.Context(), item("a")); err != nil {
			t.Fatal(err)
		}
	}
	box.Restored(record.Delivered{Outbox: record.OutboxID{2}, Through: 9}, 10) // another's
	box.Restored(record.Delivered{Outbox: record.OutboxID{1}, Through: 1}, 11)
	<-tickets[0].Decided
	if out := tickets[0].Outcome(); out != (outbox.Outcome{Revision: 11, Unsure: true}) {
		t.Errorf("%+v", out)
	}
	select {
	case <-tickets[1].Decided:
		t.Error("what the state has not is decided")
	default:
	}
	if box.Pending() != 1 {
		t.Errorf("%d pending", box.Pending())
	}
}

// proposing is an outbox whose proposals take so long, and are told when they are in the log.
func proposing(took time.Duration, proposed func(record.Deliver)) *outbox.Outbox {
	return outbox.Open(outbox.Config{
		ID: record.OutboxID{1}, Disk: slowDisk{allow: closed()}, Log: slog.New(slog.DiscardHandler), Coming: nothing, Kept: nothing,
		Deliver: func(_ context.Context, d record.Deliver) (record.Result, error) {
			<-time.After(took)
			proposed(d)
			return record.Result{Before: d.First - 1}, nil
		},
	}, nil, 1)
}

// taken has the outbox take an item, after so long, and waits until the log has it.
func taken(t *testing.T, box *outbox.Outbox, after time.Duration) {
	t.Helper()
	<-time.After(after)
	ticket, err := box.Take(t.Context(), item("a"))
	if err != nil {
		t.Error(err)
		return
	}
	<-ticket.Decided
}

// write has so many writers, who begin one after the other and each come twice, the second time after they were away.
func write(t *testing.T, box *outbox.Outbox, writers int, away time.Duration) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for n := range 2 {
				taken(t, box, time.Duration(i)*hop/10+time.Duration(n)*away)
			}
		})
	}
	wg.Wait()
}

const hop = time.Millisecond

// O5
func TestAnsweredTogetherProposedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var proposed []int
		box := proposing(10*hop, func(d record.Deliver) { proposed = append(proposed, len(d.Items)) })
		defer box.Close()
		write(t, box, 1, 0)
		if !slices.Equal(proposed, []int{1, 1}) {
			t.Errorf("who comes alone: %v", proposed)
		}
		for _, away := range []time.Duration{0, 15 * hop} {
			proposed = nil
			began := time.Now()
			write(t, box, 20, away)
			// The first is alone, and waits with the others when it comes again: until the last of these has come.
			if took := time.Since(began); took != 3*10*hop+away+19*hop/10 || !slices.Equal(proposed, []int{1, 19, 20}) {
				t.Errorf("twenty: %v in %s", proposed, took)
			}
			<-time.After(25 * hop) // of rest, as nobody comes again
		}
		proposed = nil
		began := time.Now()
		write(t, box, 1, 0)
		if took := time.Since(began); took != 2*10*hop || !slices.Equal(proposed, []int{1, 1}) {
			t.Errorf("who comes alone later: %v in %s", proposed, took)
		}
		proposed = nil
		began = time.Now()
		write(t, box, 5, 0)
		if took := time.Since(began); took != 3*10*hop+4*hop/10 || !slices.Equal(proposed, []int{1, 4, 5}) {
			t.Errorf("five, after twenty who did not come back: %v in %s", proposed, took)
		}
	})
}

// O5
func TestRestEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var proposed []int
		box := proposing(10*hop, func(d record.Deliver) { proposed = append(proposed, len(d.Items)) })
		defer box.Close()
		// Those who come 30 ms after they were answered are not waited for, though four times as long as it took would be 40.
		write(t, box, 20, 30*hop)
		if !slices.Equal(proposed, []int{1, 19, 1, 19}) {
			t.Errorf("who are away for long: %v", proposed)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		var proposed []int
		box := proposing(10*hop, func(d record.Deliver) { proposed = append(proposed, len(d.Items)) })
		defer box.Close()
		began := time.Now()
		var last *outbox.Ticket
		take := func() {
			var err error
			if last, err = box.Take(t.Context(), item("a")); err != nil {
				t.Fatal(err)
			}
		}
		take()
		synctest.Wait() // it is being proposed, alone
		const most = record.MaxRevocations
		for range 4*most + 1 {
			take()
		}
		<-last.Decided
		// All others wait from then on: so only before the last is anybody waited for.
		if took := time.Since(began); took != 6*10*hop+25*hop || !slices.Equal(proposed, []int{1, most, most, most, most, 1}) {
			t.Errorf("one, as many as fit in four proposals, and one: %v in %s", proposed, took)
		}
	})
}

// O4
func TestCloseEndsARest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box := proposing(20*time.Millisecond, func(record.Deliver) {})
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() { taken(t, box, time.Duration(i)*time.Microsecond) })
		}
		wg.Wait()
		began := time.Now()
		box.Close()
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %s", took)
		}
	})
}

// O5
func TestWhoDoesNotComeBackIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proposals := 0
		box := proposing(5*hop, func(record.Deliver) { proposals++ })
		defer box.Close()
		var wg sync.WaitGroup
		for i := range 1000 {
			wg.Go(func() { taken(t, box, time.Duration(i)*hop) }) // each comes once, whatever becomes of the others
		}
		wg.Wait()
		// By twos of five they are 100; by rests of four times as long, 40.
		if proposals < 80 {
			t.Errorf("a thousand that came one a millisecond were in %d proposals", proposals)
		}
	})
}

func nothing(uint64, []record.Taken) {}

func closed() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// O2
func TestFullOutbox(t *testing.T) {
	pending := make([]record.Taken, outbox.MaxPending)
	box := outbox.Open(outbox.Config{
		ID: record.OutboxID{1}, Disk: slowDisk{allow: closed()}, Log: slog.New(slog.DiscardHandler),
		Coming: nothing, Kept: nothing,
		Deliver: func(context.Context, record.Deliver) (record.Result, error) { return record.Result{}, errLost },
	}, pending, outbox.MaxPending+1)
	defer box.Close()
	var unavailable *record.Unavailable
	if _, err := box.Take(t.Context(), item("a")); !errors.As(err, &unavailable) || unavailable.RetryAfter == 0 {
		t.Errorf("%v", err)
	}
	if box.Pending() != outbox.MaxPending || box.Refused() != 1 {
		t.Errorf("%d pending, %d refused", box.Pending(), box.Refused())
	}
}
