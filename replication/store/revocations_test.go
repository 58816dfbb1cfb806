package store_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"veto/record"
	"veto/replication/store"
)

// S3: a database says which comparer it was written with, and is not opened with another. So what
// it says, and what that means, stays as it is.
func TestComparerIsPinned(t *testing.T) {
	c := store.Comparer()
	revocation := record.RevocationKey(7, record.Digest{1, 2}, 3)
	for key, want := range map[string]int{
		string(revocation): 22, string(revocation[:22]): 22, string(revocation[:5]): 5, "": 0,
		"m" + string(revocation): 31, "r": 1,
	} {
		if got := c.Split([]byte(key)); got != want {
			t.Errorf("%x: %d, want %d", key, got, want)
		}
	}
	if c.Name != "veto.state.1" || !bytes.Equal(revocation, append([]byte("r\x00\x00\x00\x07\x01\x02"), revocation[7:]...)) {
		t.Errorf("%s, %x", c.Name, revocation)
	}
}

// S3: a revocation is found wherever it is on disk: before and after it was written to a file,
// beside what was deleted, and whatever else is there.
func TestRevokedFindsWhatIsThere(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir := t.TempDir()
		s := open(t, dir)
		defer func() { closed(t, s) }()
		draw := func() []byte {
			d := record.Digest{1, byte(rapid.IntRange(0, 5).Draw(rt, "digest"))}
			return record.RevocationKey(record.Bucket(rapid.IntRange(0, 3).Draw(rt, "bucket")), d, rapid.Int64Range(1, 3).Draw(rt, "cutoff"))
		}
		for i := range uint64(rapid.IntRange(1, 30).Draw(rt, "steps")) {
			b := s.Begin()
			var err error
			switch rapid.IntRange(0, 6).Draw(rt, "step") {
			case 0:
				err = b.DeleteRange(record.TableRevocations.Key(), draw()[:5])
			case 1:
				err = b.Delete(draw())
			default:
				err = b.Put(draw(), []byte("v"))
			}
			if err == nil {
				err = b.Commit(store.Applied{Index: i + 1, Term: 1})
			}
			if err != nil {
				rt.Fatal(err)
			}
			if rapid.IntRange(0, 9).Draw(rt, "restart") == 0 {
				closed(t, s)
				s = open(t, dir)
			}
		}
		there := map[record.Entry]bool{}
		if err := s.Revocations(record.Entry{}, func(e record.Entry) bool { there[e] = true; return true }); err != nil {
			rt.Fatal(err)
		}
		buckets := []record.Bucket{3, 2, 1, 0}
		for n := range byte(6 * 4) {
			d, iat := record.Digest{1, n / 4}, int64(n%4)
			want := slices.IndexFunc(buckets, func(b record.Bucket) bool {
				return there[record.Entry{Bucket: b, Digest: d, Cutoff: max(iat, 1)}] || there[record.Entry{Bucket: b, Digest: d, Cutoff: 2}] && iat < 3 ||
					there[record.Entry{Bucket: b, Digest: d, Cutoff: 3}]
			})
			b, found, err := s.Revoked(d, iat, buckets)
			if err != nil || found != (want >= 0) || found && b != buckets[want] {
				rt.Fatalf("%x issued at %d: %v %d %v, want %d of %v", d, iat, found, b, err, want, there)
			}
		}
	})
}

// P3: a batch reads what it has written, and of what it does to a key the last counts, whatever else it does before and after.
func TestBatchIsAsItWasMade(t *testing.T) {
	s := open(t, t.TempDir())
	defer closed(t, s)
	want, index := map[string]string{}, uint64(0)
	rapid.Check(t, func(rt *rapid.T) {
		b := s.Begin()
		from := rapid.SampledFrom([]string{"pa", "ra", "rb", "rc", "sa"})
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			index++
			key, to := from.Draw(rt, "key"), rapid.SampledFrom([]string{"q", "r", "rb", "s", "t"}).Draw(rt, "to")
			var err error
			switch rapid.IntRange(0, 9).Draw(rt, "what") {
			case 0:
				err = b.Delete([]byte(key))
				delete(want, key)
			case 1:
				if key < to {
					err = b.DeleteRange([]byte(key), []byte(to))
					maps.DeleteFunc(want, func(k, _ string) bool { return key <= k && k < to })
				}
			case 2:
				holds(rt, b.Scan, want)
			case 3:
				value, ok, errGet := b.Get([]byte(key))
				if is, was := want[key]; ok != was || string(value) != is {
					rt.Errorf("%s is %q, want %q", key, value, is)
				}
				err = errGet
			default:
				want[key] = fmt.Sprint(index)
				err = b.Put([]byte(key), []byte(want[key]))
			}
			if err != nil {
				rt.Fatal(err)
			}
		}
		if err := b.Commit(store.Applied{Index: index}); err != nil {
			rt.Fatal(err)
		}
		holds(rt, s.Scan, want)
	})
}

// holds looks whether there is what is wanted and no more.
func holds(t *rapid.T, scan func(from, to []byte, fn func(key, value []byte) (bool, error)) error, want map[string]string) {
	got := map[string]string{}
	err := scan([]byte("p"), []byte("t"), func(key, value []byte) (bool, error) {
		got[string(key)] = string(value)
		return true, nil
	})
	if err != nil || !maps.Equal(got, want) {
		t.Fatalf("%q, %v, want %q", got, err, want)
	}
}
