package outbox_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"veto/record"
	"veto/replication/outbox"
	"veto/replication/store"
)

// everyones is a log that knows one number of each outbox, and can be out of reach.
type everyones struct {
	mu      sync.Mutex
	away    bool
	through map[record.OutboxID]uint64
	has     []string
}

func (l *everyones) deliver(_ context.Context, d record.Deliver) (record.Result, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.away {
		return record.Result{}, errLost
	}
	r := record.Result{Revision: 1, Before: l.through[d.Outbox]}
	for i, item := range d.Items {
		if number := d.First + uint64(i); number > l.through[d.Outbox] {
			l.has, l.through[d.Outbox] = append(l.has, item.Revocation.Value), number
		}
	}
	return r, nil
}

func (l *everyones) passed(id record.OutboxID) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.through[id], nil
}

func (l *everyones) reach(can bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.away = !can
}

// directory is a node's, whose process is started again and again.
type directory struct {
	*testing.T
	*everyones
	path  string
	disk  *store.Outbox
	boxes *outbox.Boxes
	ready chan struct{}
	// What the state of this node has of the outboxes before it has caught up; nil if that is all.
	old  map[record.OutboxID]uint64
	said bytes.Buffer // read once the boxes are closed
}

func newDirectory(t *testing.T) *directory {
	t.Helper()
	return &directory{T: t, everyones: &everyones{through: map[record.OutboxID]uint64{}}, path: filepath.Join(t.TempDir(), "outbox")}
}

func (d *directory) start() {
	d.Helper()
	var err error
	if d.disk, err = store.OpenOutbox(d.path, rand.Reader, store.Options{Log: slog.New(slog.DiscardHandler)}); err != nil {
		d.Fatal(err)
	}
	former, err := d.disk.Former()
	if err != nil {
		d.Fatal(err)
	}
	d.ready = make(chan struct{})
	none := func(record.OutboxID, uint64, []record.Taken) {}
	c := outbox.BoxesConfig{
		Current: d.disk, Fresh: func() (outbox.Place, error) { return d.disk.Fresh(rand.Reader) }, Passed: d.passedHere,
		Ready: d.ready, Coming: none, Kept: none, Deliver: d.deliver, Log: slog.New(slog.NewTextHandler(&d.said, nil)),
	}
	for _, f := range former {
		c.Former = append(c.Former, f)
	}
	if d.boxes, err = outbox.OpenBoxes(c); err != nil {
		d.Fatal(err)
	}
}

func (d *directory) stop() {
	d.Helper()
	d.boxes.Close()
	if err := d.disk.Close(); err != nil {
		d.Fatal(err)
	}
}

// passedHere is what the state has, which is in the directory that is put back.
func (d *directory) passedHere(id record.OutboxID) (uint64, error) {
	select {
	case <-d.ready:
	default:
		if d.old != nil {
			return d.old[id], nil
		}
	}
	return d.passed(id)
}

// take takes one, and waits until the log has it if that can be reached.
func (d *directory) take(value string) record.OutboxID {
	d.Helper()
	id, ticket, err := d.boxes.Take(d.Context(), record.Taken{Revocation: record.Revocation{Name: record.Name{Value: value}}})
	if err != nil {
		d.Fatal(err)
	}
	if d.everyones.away {
		return id
	}
	select {
	case <-ticket.Decided:
	case <-time.After(20 * time.Second):
		d.Fatalf("%s is not in the log, and nobody will bring it", value)
	}
	return id
}

// run is a run of the process that has caught up, and takes the values.
func (d *directory) run(values ...string) (last record.OutboxID) {
	d.Helper()
	d.start()
	close(d.ready)
	for _, v := range values {
		last = d.take(v)
	}
	d.stop()
	d.old = nil
	return last
}

// copied is a copy of the directory, and what the state had then; back puts it in its place.
type copied struct {
	path string
	had  map[record.OutboxID]uint64
}

func (d *directory) copied() copied {
	d.Helper()
	to := filepath.Join(d.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(d.path)); err != nil {
		d.Fatal(err)
	}
	return copied{to, maps.Clone(d.through)}
}

func (d *directory) back(from copied) {
	d.Helper()
	d.old = from.had
	if err := os.RemoveAll(d.path); err != nil {
		d.Fatal(err)
	}
	if err := os.CopyFS(d.path, os.DirFS(from.path)); err != nil {
		d.Fatal(err)
	}
}

func (d *directory) inLog(want ...string) {
	d.Helper()
	if !slices.Equal(d.has, want) {
		d.Errorf("the log has %v, want %v", d.has, want)
	}
}

// O3
func TestOldCopyLosesNothing(t *testing.T) {
	d := newDirectory(t)
	first := d.run("a", "b")
	if d.run("c") != first {
		t.Error("a restart took a fresh outbox")
	}
	from := d.copied()
	d.run("d", "e", "f")
	d.back(from)
	d.said.Reset()
	second := d.run("g", "h")
	if second == first || !strings.Contains(d.said.String(), "older copy") {
		t.Errorf("it went on with numbers that the log has passed, or did not say so: %s", &d.said)
	}
	if d.run("i") != second {
		t.Error("the fresh outbox was not kept")
	}
	d.inLog("a", "b", "c", "d", "e", "f", "g", "h", "i")
	// Put back once more, to where it had the fresh one already.
	from = d.copied()
	d.run("k")
	d.back(from)
	d.run("l")
	d.inLog("a", "b", "c", "d", "e", "f", "g", "h", "i", "k", "l")
}

// O3: what is taken before anybody can know is delivered as well, through restarts, and what was pending before.
func TestTakenBeforeItIsKnown(t *testing.T) {
	d := newDirectory(t)
	d.run("a")
	from := d.copied()
	d.run("b", "c", "d")
	d.back(from)
	d.reach(false)
	for i := range 3 { // as many as the log has of the old ones, so that no number says anything
		d.start()
		for n := range 2 {
			d.take(fmt.Sprintf("%d%d", i, n))
		}
		d.stop()
	}
	d.start()
	if n := d.boxes.Pending(); n != 6 {
		t.Errorf("%d are pending after restarts, want 6", n)
	}
	pending, err := d.disk.Pending(d.passedHere)
	if err != nil || len(pending) != 6 {
		t.Errorf("a recovery would find %d, want 6: %v", len(pending), err)
	}
	d.reach(true)
	close(d.ready)
	for limit := time.After(20 * time.Second); d.boxes.Pending() > 0; {
		select {
		case <-limit:
			t.Fatalf("%d are not delivered", d.boxes.Pending())
		case <-time.After(time.Millisecond):
		}
	}
	d.take("z")
	d.stop()
	slices.Sort(d.has)
	d.inLog("00", "01", "10", "11", "20", "21", "a", "b", "c", "d", "z")
	d.run("y")
	d.start()
	defer d.stop()
	former, err := d.disk.Former()
	if err != nil || len(former) != 1 { // the first one is kept for older versions
		t.Errorf("%d former ones are there, want 1: %v", len(former), err)
	}
}

// inMemory is a place with some items that nobody delivers.
type inMemory struct {
	id    record.OutboxID
	items []record.Taken
}

func (p inMemory) ID() record.OutboxID { return p.id }
func (p inMemory) Load(uint64) ([]record.Taken, uint64, error) {
	return p.items, uint64(len(p.items)) + 1, nil
}
func (inMemory) Append(uint64, []record.Taken) error { return nil }
func (inMemory) Remove(uint64) error                 { return nil }
func (inMemory) Forget() error                       { return nil }

// unsure opens boxes that take in outbox 1, or in what fresh makes; the caller closes them.
func unsure(t *testing.T, ready <-chan struct{}, fresh func() (outbox.Place, error), former ...outbox.Place) *outbox.Boxes {
	t.Helper()
	none := func(record.OutboxID, uint64, []record.Taken) {}
	b, err := outbox.OpenBoxes(outbox.BoxesConfig{
		Current: inMemory{id: record.OutboxID{1}}, Former: former, Fresh: fresh, Ready: ready, Coming: none, Kept: none,
		Passed:  func(record.OutboxID) (uint64, error) { return 0, nil },
		Deliver: func(context.Context, record.Deliver) (record.Result, error) { return record.Result{}, errLost },
		Log:     slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func second() (outbox.Place, error) { return inMemory{id: record.OutboxID{2}}, nil }

// claim is what came of a Take.
type claim struct {
	id  record.OutboxID
	err error
}

// take takes one beside what else is done.
func take(t *testing.T, b *outbox.Boxes) <-chan claim {
	t.Helper()
	c := make(chan claim, 1)
	go func() {
		id, _, err := b.Take(t.Context(), item("a"))
		c <- claim{id, err}
	}()
	return c
}

// O3: who comes before it is known waits for that, and once nobody waits any longer, nobody does.
func TestWaitsUntilItIsKnown(t *testing.T) {
	t.Run("it is known in time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ready := make(chan struct{})
			b := unsure(t, ready, second)
			defer b.Close()
			claimed := take(t, b)
			synctest.Wait()
			close(ready)
			if c := <-claimed; c.err != nil || c.id != (record.OutboxID{1}) {
				t.Errorf("%+v", c)
			}
		})
	})
	t.Run("it is not", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := unsure(t, nil, second)
			defer b.Close()
			<-time.After(time.Minute)
			claimed := take(t, b)
			synctest.Wait()
			select {
			case c := <-claimed:
				if c.err != nil || c.id != (record.OutboxID{2}) {
					t.Errorf("%+v", c)
				}
			default:
				t.Error("it still waits")
			}
		})
	})
}

// Whoever still waits when all is closed is refused, and makes nothing that writes to the disk.
func TestCloseRefusesWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := unsure(t, nil, func() (outbox.Place, error) {
			t.Error("a fresh outbox was made after Close")
			return nil, errLost
		})
		claimed := take(t, b)
		synctest.Wait()
		b.Close()
		var unavailable *record.Unavailable
		if c := <-claimed; !errors.As(c.err, &unavailable) {
			t.Errorf("%v", c.err)
		}
	})
}

// What the log brings is not held up by the disk on which a fresh outbox is made.
func TestDeliveredDoesNotWaitForTheDisk(t *testing.T) {
	var b *outbox.Boxes
	b = unsure(t, nil, func() (outbox.Place, error) {
		told := make(chan struct{})
		go func() {
			b.Delivered(record.Delivered{Outbox: record.OutboxID{1}}, 1)
			close(told)
		}()
		select {
		case <-told:
		case <-time.After(20 * time.Second):
			t.Error("it waits for the disk")
		}
		return second()
	})
	defer b.Close()
	if c := <-take(t, b); c.err != nil {
		t.Error(c.err)
	}
}

// O2: what all outboxes of a node hold is bounded, not what each holds.
func TestFullOutboxes(t *testing.T) {
	b := unsure(t, closed(), second, inMemory{record.OutboxID{3}, make([]record.Taken, outbox.MaxPending)})
	defer b.Close()
	var unavailable *record.Unavailable
	if c := <-take(t, b); !errors.As(c.err, &unavailable) || b.Refused() != 1 || b.Pending() != outbox.MaxPending {
		t.Errorf("%v, %d refused, %d pending", c.err, b.Refused(), b.Pending())
	}
}
