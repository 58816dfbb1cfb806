package store_test

import (
	"bytes"
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
