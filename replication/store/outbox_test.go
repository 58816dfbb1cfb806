package store_test

import (
	"crypto/rand"
	"encoding/binary"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"veto/record"
	"veto/replication/store"
)

func openOutbox(t *testing.T, dir string) *store.Outbox {
	t.Helper()
	b, err := store.OpenOutbox(dir, rand.Reader, options())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type silent struct{ *testing.T }

func (silent) Infof(string, ...any)  {}
func (silent) Errorf(string, ...any) {}

// keep appends what is numbered so, and is named by it.
func keep(t *testing.T, b *store.Outbox, first uint64, values ...string) {
	t.Helper()
	items := make([]record.Taken, len(values))
	for i, v := range values {
		items[i].Revocation.Value = v
	}
	if err := b.Append(first, items); err != nil {
		t.Fatal(err)
	}
}

// older does what a version did that knows one outbox in a directory: it delivers all that is there, takes one
// more, and gives the id and the number that it gives with that.
func older(t *testing.T, dir, value string) (id record.OutboxID, number uint64) {
	t.Helper()
	db, err := pebble.Open(dir, &pebble.Options{Logger: silent{t}})
	if err != nil {
		t.Fatal(err)
	}
	get := func(key string) []byte {
		v, closer, err := db.Get([]byte(key))
		if err != nil {
			t.Fatal(key, err)
		}
		defer closer.Close()
		return append([]byte(nil), v...)
	}
	copy(id[:], get("id"))
	number = binary.BigEndian.Uint64(get("next"))
	var taken record.Taken
	taken.Revocation.Value = value
	item, err := record.Encode(&taken)
	if err != nil {
		t.Fatal(err)
	}
	key := func(n uint64) []byte { return binary.BigEndian.AppendUint64([]byte("t"), n) }
	for _, err := range []error{
		db.DeleteRange(key(0), key(number), pebble.NoSync),
		db.Set(key(number), item, pebble.NoSync),
		db.Set([]byte("next"), binary.BigEndian.AppendUint64(nil, number+1), pebble.Sync),
		db.Close(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return id, number
}

// P7: an older version that is put back goes on with the first outbox alone, and neither loses what the other has.
func TestOlderVersionGoesOnWithTheFirstOutbox(t *testing.T) {
	for name, forget := range map[string]bool{"that has items": false, "that was forgotten": true} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "outbox")
			first := openOutbox(t, dir)
			keep(t, first, 1, "a", "b")
			second, err := first.Fresh(rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			keep(t, second, 1, "c")
			if forget {
				if err := first.Forget(); err != nil {
					t.Fatal(err)
				}
			}
			if err := first.Close(); err != nil {
				t.Fatal(err)
			}
			if id, number := older(t, dir, "d"); id != first.ID() || number != 3 {
				t.Errorf("the older version gave number %d of %v, want 3 of %v", number, id, first.ID())
			}
			b := openOutbox(t, dir)
			defer b.Close()
			if b.ID() != second.ID() {
				t.Errorf("it takes in %v, want %v", b.ID(), second.ID())
			}
			pending, err := b.Pending(func(record.OutboxID) (uint64, error) { return 0, nil })
			if err != nil || len(pending) != 2 || pending[0].Revocation.Value != "d" || pending[1].Revocation.Value != "c" {
				t.Errorf("%v %v", pending, err)
			}
		})
	}
}

// S6: ranges that lie over each other come to as many pieces as the square of how many they are.
func TestWhatIsRemovedWeighsNothing(t *testing.T) {
	b := openOutbox(t, t.TempDir())
	defer func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}()
	const items = 4000
	for n := uint64(1); n <= items; n++ {
		keep(t, b, n, "a")
		if err := b.Remove(n); err != nil {
			t.Fatal(err)
		}
	}
	keep(t, b, items+1, "left")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := b.Flush(); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if made := after.TotalAlloc - before.TotalAlloc; made > 16<<20 {
		t.Errorf("a flush after %d were removed one by one takes %d MiB", items, made>>20)
	}
	if left, next, err := b.Load(0); err != nil || len(left) != 1 || left[0].Revocation.Value != "left" || next != items+2 {
		t.Errorf("%d are left, then %d: %v", len(left), next, err)
	}
}
