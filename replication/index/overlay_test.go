package index_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"veto/record"
	"veto/replication/index"
)

var box = record.OutboxID{1}

func early(number uint64, value string, cutoff int64) record.Notice {
	return record.Notice{Cluster: "c", Outbox: box, First: number, Node: "n1", Revocations: []record.Revocation{revocation(value, cutoff, 0)}}
}

// P2: items of an outbox are told of in any order, doubled, late or never; the log brings them in
// their order, and lifts some.
func TestNoticesOfOutboxesAreHarmless(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		values := []string{"a", "b", "c"}
		items := rapid.SliceOfN(rapid.SampledFrom(values), 1, 12).Draw(rt, "items")
		x := empty(t)
		model := map[string]bool{} // what the log says
		through, rev := 0, record.Revision(0)
		told, seen, unkept := map[int]bool{}, map[int]bool{}, map[int]string{}
		for through < len(items) {
			rev++
			switch rapid.IntRange(0, 6).Draw(rt, "step") {
			case 0, 1:
				n := rapid.IntRange(0, len(items)-1).Draw(rt, "told")
				x.Notice(early(uint64(n+1), items[n], 0))
				told[n] = true
				delete(unkept, n)
			case 2:
				n := rapid.IntRange(1, len(items)-through).Draw(rt, "delivered")
				changes := []record.Change{{Record: &record.Delivered{Outbox: box, Through: uint64(through + n)}}}
				for _, v := range items[through : through+n] {
					r := revocation(v, 0, 0)
					changes = append(changes, record.Change{Record: &r})
					model[v] = true
				}
				through += n
				x.Apply(changes, rev)
				maps.DeleteFunc(unkept, func(n int, _ string) bool { return n < through })
			case 3:
				v := rapid.SampledFrom(values).Draw(rt, "lifted")
				r := revocation(v, 0, 0)
				x.Apply([]record.Change{{Record: &r, Gone: true}}, rev)
				delete(model, v)
			case 4, 5: // what is said to come may be another than the one that gets the number
				n, v := rapid.IntRange(0, len(items)-1).Draw(rt, "coming"), rapid.SampledFrom(values).Draw(rt, "what")
				coming := early(uint64(n+1), v, 0)
				coming.Unkept = true
				x.Notice(coming)
				if n >= through && !told[n] && unkept[n] != v {
					unkept[n], seen[n] = v, false
				}
			case 6:
				x.DropUnkept()
				maps.DeleteFunc(unkept, func(n int, _ string) bool { return seen[n] })
				for n := range unkept {
					seen[n] = true
				}
			}
			for _, v := range values {
				want := model[v]
				for n := through; n < len(items); n++ {
					want = want || told[n] && items[n] == v || unkept[n] == v
				}
				if _, got := x.Revoked(digest(v), 1); got != want {
					rt.Fatalf("%s is denied: %v, want %v; delivered %d of %v, told %v", v, got, want, through, items, told)
				}
			}
		}
		for n, v := range items {
			x.Notice(early(uint64(n+1), v, 0)) // all are too late now
		}
		for _, v := range values {
			late := early(1, v, 0)
			late.Unkept = true
			x.Notice(late)
			if _, got := x.Revoked(digest(v), 1); got != model[v] || x.Stats().Notices != 0 {
				rt.Fatalf("%s: %v; %+v", v, got, x.Stats())
			}
		}
	})
}

// P2, X8: what may never have been taken denies, and that is all: nobody is told that it was taken,
// nobody brings it into the log, and it goes by itself.
func TestUnkeptOnlyDenies(t *testing.T) {
	x := empty(t)
	coming := early(1, "a", 0)
	coming.Unkept = true
	x.Notice(coming)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	hit, denied := x.Revoked(digest("a"), 1)
	if !denied || !hit.Unkept || hit.Node != "" || hit.Taken != (record.Accepted{}) {
		t.Errorf("%v %+v", denied, hit)
	}
	if err := x.AwaitTaken(ended, box, 1); err == nil || len(x.Undelivered()) != 0 {
		t.Errorf("it counts as taken: %v, %v", err, x.Undelivered())
	}
	x.DropUnkept()
	if _, denied := x.Revoked(digest("a"), 1); !denied {
		t.Error("it went at once")
	}
	x.DropUnkept()
	if _, denied := x.Revoked(digest("a"), 1); denied || x.Stats().Notices != 0 {
		t.Errorf("it stays: %+v", x.Stats())
	}
	x.Notice(coming)
	x.Notice(early(1, "b", 0)) // the node was killed, and gave the number to another
	if _, denied := x.Revoked(digest("a"), 1); denied || x.Stats().Notices != 1 {
		t.Errorf("it did not give way: %+v", x.Stats())
	}
	x.Notice(coming)
	if hit, denied := x.Revoked(digest("b"), 1); !denied || hit.Unkept || x.AwaitTaken(ended, box, 1) != nil || len(x.Undelivered()) != 1 {
		t.Errorf("what was taken: %v %+v", denied, hit)
	}
}

// P2: of several hints of one name each counts, until the log has brought that one.
func TestNoHintHidesAnother(t *testing.T) {
	x := empty(t)
	x.Notice(early(1, "a", 200))
	x.Notice(early(2, "a", 100))
	for iat, want := range map[int64]bool{100: true, 200: true, 201: false} {
		if _, got := x.Revoked(digest("a"), iat); got != want {
			t.Errorf("iat %d: %v", iat, got)
		}
	}
	// The first is refused by the log: what is left is the second.
	x.Apply([]record.Change{{Record: &record.Delivered{Outbox: box, Through: 1}}}, 1)
	for iat, want := range map[int64]bool{100: true, 101: false} {
		if _, got := x.Revoked(digest("a"), iat); got != want {
			t.Errorf("iat %d, after the first is gone: %v", iat, got)
		}
	}
}

// P2: the first name that is denied is found, whether the log has told of it or a notice.
func TestFirstOfLogAndNotices(t *testing.T) {
	x := empty(t)
	r := revocation("log", 0, 0)
	x.Apply([]record.Change{{Record: &r}}, 1)
	for range 2 {
		for place, names := range [...][]string{{"log", "notice"}, {"no", "log"}, {"no", "other", "log", "notice"}} {
			var all []record.Digest
			for _, n := range names {
				all = append(all, digest(n))
			}
			if got := x.FirstDenied(all, 1); got != place {
				t.Errorf("%v: %d", names, got)
			}
		}
		x.Notice(early(1, "notice", 0))
	}
	if early, none := x.FirstDenied([]record.Digest{digest("no"), digest("notice"), digest("log")}, 1), x.FirstDenied([]record.Digest{digest("no")}, 1); early != 1 || none != -1 {
		t.Errorf("the notice's at %d, none at %d", early, none)
	}
}

// While an entry goes from the overlay into the tables, nobody misses it.
func TestNobodySeesTheGap(t *testing.T) {
	x := empty(t)
	stop, missed := make(chan struct{}), make(chan error, 1)
	x.Notice(early(1, "1", 0))
	current := make(chan string, 1)
	current <- "1"
	go func() {
		defer close(missed)
		v := <-current
		for {
			select {
			case <-stop:
				return
			case v = <-current:
			default:
			}
			_, ok := x.Revoked(digest(v), 1)
			if !ok || x.FirstDenied([]record.Digest{digest(v)}, 1) < 0 {
				missed <- fmt.Errorf("%s was not denied for a moment", v)
				return
			}
		}
	}()
	for n := uint64(1); n < 20_000; n++ {
		v := fmt.Sprint(n)
		next := fmt.Sprint(n + 1)
		r := revocation(v, 0, 0)
		x.Apply([]record.Change{{Record: &r}, {Record: &record.Delivered{Outbox: box, Through: n}}}, record.Revision(n))
		x.Notice(early(n+1, next, 0))
		select {
		case current <- next:
		default:
		}
	}
	close(stop)
	if err := <-missed; err != nil {
		t.Error(err)
	}
}

func TestAwaitTaken(t *testing.T) {
	x := empty(t)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := x.AwaitTaken(ended, box, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("before: %v", err)
	}
	done := make(chan error, 2)
	wait := func(number uint64) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		done <- x.AwaitTaken(ctx, box, number)
	}
	go wait(1)
	x.Notice(early(1, "a", 0))
	if err := <-done; err != nil {
		t.Errorf("told: %v", err)
	}
	go wait(2)
	x.Apply([]record.Change{{Record: &record.Delivered{Outbox: box, Through: 2}}}, 5)
	if err := <-done; err != nil {
		t.Errorf("brought by the log: %v", err)
	}
}

// X8
func TestUndelivered(t *testing.T) {
	x := empty(t)
	lacking := func(want map[uint64]string) {
		t.Helper()
		got := map[uint64]string{}
		for _, d := range x.Undelivered() {
			for i, item := range d.Items {
				got[d.First+uint64(i)] = item.Revocation.Value
				if item.Request != (record.Request{Key: "request " + item.Revocation.Value, Sum: [32]byte{1}}) {
					t.Errorf("%+v", item.Request)
				}
				if d.Outbox != box || item.By != "key_a" || item.Revocation.By != "" || !item.Revocation.At.IsZero() {
					t.Errorf("%+v", d)
				}
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	told := func(number uint64, value string) {
		n := early(number, value, 0)
		n.Revocations[0].By, n.Revocations[0].At = "key_a", time.Unix(1, 0)
		n.Requests = []record.Request{{Key: "request " + value, Sum: [32]byte{1}}}
		x.Notice(n)
	}
	none := map[uint64]string{}
	lacking(none)
	told(2, "b")
	told(3, "b")
	lacking(none) // the first is not known here: to deliver the second would pass it over
	told(1, "a")
	told(5, "e")
	lacking(map[uint64]string{1: "a", 2: "b", 3: "b"})
	x.Notice(record.Notice{Cluster: "c", Revision: 9, Revocations: []record.Revocation{revocation("z", 0, 0)}})
	x.Apply([]record.Change{{Record: &record.Delivered{Outbox: box, Through: 2}}}, 5)
	lacking(map[uint64]string{3: "b"})
	x.Apply([]record.Change{{Record: &record.Delivered{Outbox: box, Through: 4}}}, 6)
	lacking(map[uint64]string{5: "e"})
	for n := range uint64(1000) {
		told(6+n, "f")
	}
	if d := x.Undelivered(); len(d) != 1 || len(d[0].Items) > 256 {
		t.Errorf("%d outboxes, and of the first %d items", len(d), len(d[0].Items))
	}
}

// X8: what is given fits in one command, however long the names are.
func TestUndeliveredFitsInACommand(t *testing.T) {
	x, long := empty(t), strings.Repeat("x", record.MaxNameValue-4)
	for n := range uint64(400) {
		notice := early(n+1, fmt.Sprint(long, n), 0)
		notice.Revocations[0].Issuer, notice.Revocations[0].Reason = long, long[:record.MaxReason]
		notice.Revocations[0].And = []record.Part{{Target: record.TargetClient, Value: long}, {Target: record.TargetSession, Value: long}}
		notice.Requests = []record.Request{{Key: long[:record.MaxRequestKey], Sum: [32]byte{1}}}
		x.Notice(notice)
	}
	d := x.Undelivered()
	if len(d) != 1 || len(d[0].Items) == 0 {
		t.Fatalf("%d outboxes", len(d))
	}
	c := record.Command{Body: d[0]}
	if _, err := c.Encode(); err != nil {
		t.Errorf("%d items: %v", len(d[0].Items), err)
	}
}

// What this node took itself is enforced though the overlay is full.
func TestOwnHintsHaveRoom(t *testing.T) {
	x := empty(t)
	for i := range index.MaxNotices {
		x.Notice(record.Notice{Cluster: "c", Revision: 9, Revocations: []record.Revocation{revocation(fmt.Sprint(i), 0, 0)}})
	}
	x.Notice(early(1, "other", 0))
	x.Taken(early(2, "own", 0))
	if _, ok := x.Revoked(digest("other"), 1); ok {
		t.Error("there was room")
	}
	if _, ok := x.Revoked(digest("own"), 1); !ok {
		t.Error("what the node took is not enforced")
	}
}
