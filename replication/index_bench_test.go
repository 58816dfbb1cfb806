package replication

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"log/slog"
	"math/bits"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"veto/record"
	"veto/replication/index"
	"veto/replication/store"
)

var (
	benchRevocations = flag.Int("revocations", 10_000_000, "revocations of tokens in the state that is measured")
	benchExact       = flag.Int("exact", 2_000_000, "revocations of one kind in tables, where filters are measured")
	benchCache       = flag.Int64("cache", store.DefaultCacheBytes, "bytes of the database's cache")
	benchState       = flag.String("state", "", "directory of that state, to use it again; a new one for each run if empty")
)

var benchKey = record.DigestKey{7}

const (
	benchIssuer = "https://issuer.example"
	benchHours  = 24 // in which the revocations of tokens expire
)

// benchName is one of the names that tokens bear; tokens that are revoked have numbers from 0 on.
func benchName(t record.Target, i int) record.Name {
	n := record.Name{Target: t, Issuer: benchIssuer}
	if t != record.TargetIssuer {
		n.Value = fmt.Sprintf("0192f0c1-7c2b-7d00-8000-%012d", i)
	}
	return n
}

// whole are the digests of a token's usual names.
func whole(i int) []record.Digest {
	var all []record.Digest
	for _, t := range []record.Target{
		record.TargetToken, record.TargetIssuer, record.TargetJTI, record.TargetSubject, record.TargetClient,
		record.TargetSession, record.TargetSigningKey,
	} {
		all = append(all, benchKey.Digest(benchName(t, i)))
	}
	return all
}

// benchStore holds the revocations of tokens, and for each hundred of these one of a session and
// one of a subject.
func benchStore(b *testing.B) (dir string) {
	b.Helper()
	dir = *benchState
	if dir == "" {
		dir = b.TempDir()
	}
	s := benchOpen(b, dir)
	defer func() { _ = s.Close() }()
	if s.Applied().Index > 0 {
		return dir
	}
	for hour := range benchHours {
		benchFill(b, s, record.TargetJTI, hour, benchHours)
	}
	benchFill(b, s, record.TargetSession, 0, 100)
	benchFill(b, s, record.TargetSubject, 0, 100)
	return dir
}

// benchFill revokes every so many of the tokens, in the order of their keys: the state is then as
// compactions would have left it.
func benchFill(b *testing.B, s *store.Store, t record.Target, first, step int) {
	b.Helper()
	type one struct {
		digest record.Digest
		number int
	}
	var all []one
	for i := first; i < *benchRevocations; i += step {
		all = append(all, one{benchKey.Digest(benchName(t, i)), i})
	}
	slices.SortFunc(all, func(a, b one) int { return bytes.Compare(a.digest[:], b.digest[:]) })
	at := s.Applied()
	at.Term = 1
	for part := range slices.Chunk(all, 10_000) {
		batch := s.Begin()
		for _, x := range part {
			benchPut(b, batch, t, x.number)
		}
		at.Index++
		if err := batch.Commit(at); err != nil {
			b.Fatal(err)
		}
	}
}

func benchOpen(b *testing.B, dir string) *store.Store {
	b.Helper()
	s, err := store.Open(dir, store.Options{CacheBytes: *benchCache, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	return s
}

func benchPut(b *testing.B, batch *store.Batch, t record.Target, i int) {
	b.Helper()
	r := record.Revocation{Name: benchName(t, i), Reason: "logged out", By: "key_0123456789", At: now, Revision: record.Revision(i + 1)}
	if t == record.TargetJTI {
		r.KeptUntil = now.Add(time.Duration(i%benchHours) * time.Hour)
	}
	value, err := record.Encode(&r)
	if err == nil {
		err = batch.Put(record.RevocationKey(r.Bucket(), benchKey.Digest(r.Name), r.Cutoff()), value)
	}
	if err != nil {
		b.Fatal(err)
	}
}

func benchIndex(s *store.Store, exactMax int) *index.Index {
	return index.Open(index.Config{
		OnIssuers: func([]record.Issuer, []record.SigningKeys) {}, Disk: s, ExactMax: exactMax, Log: slog.New(slog.DiscardHandler),
	})
}

// BenchmarkIndex says what revocations cost in memory and what a look-up of a whole token costs: of each class of its
// names there are some. Aim: 150 ns.
// The restart is that of store and index, with the files in the machine's cache: until they answer, and until what
// is on disk was read. An index that has read nothing says what it costs to be asked before.
func BenchmarkIndex(b *testing.B) {
	dir := benchStore(b)
	for _, mode := range []struct {
		name     string
		exactMax int
		unread   bool
	}{{"exact", 1 << 40, false}, {"filter", *benchExact, false}, {"unread", *benchExact, true}} {
		b.Run(mode.name, func(b *testing.B) {
			runtime.GC()
			start := time.Now()
			s := benchOpen(b, dir)
			defer func() { _ = s.Close() }()
			x := benchIndex(s, mode.exactMax)
			defer func() { _ = x.Close() }()
			if mode.unread {
				_ = x.Close() // nothing reads, and it answers
			}
			if err := x.Load(func(func(record.Change, error) bool) {}, "c", benchKey, 1); err != nil {
				b.Fatal(err)
			}
			answers := time.Since(start)
			if !mode.unread {
				benchAwaitRead(x)
			}
			benchFew(x)
			took, bytes, largest, all := time.Since(start), 0, index.ClassStats{}, x.Stats()
			for _, c := range all.Classes {
				if bytes += c.Bytes; c.Revocations > largest.Revocations {
					largest = c
				}
			}
			b.Run("restart", func(b *testing.B) {
				for b.Loop() { //nolint:revive // it was loaded above, once
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(answers.Seconds(), "s-to-answer")
				if mode.unread {
					return
				}
				b.ReportMetric(took.Seconds(), "s-to-read")
				b.ReportMetric(float64(bytes)/float64(all.Revocations), "B/revocation")
				b.ReportMetric(float64(largest.Bytes)/float64(largest.Revocations), "B/token")
			})
			benchLookups(b, x)
		})
	}
}

// benchFew revokes one of each kind of names that tokens bear, so that all are looked for.
func benchFew(x *index.Index) {
	for _, t := range []record.Target{record.TargetToken, record.TargetIssuer, record.TargetClient, record.TargetSigningKey} {
		r := &record.Revocation{Name: benchName(t, -1)}
		r.Issuer = "https://other.example"
		x.Apply([]record.Change{{Record: r, Digest: benchKey.Digest(r.Name)}}, x.Revision()+1)
	}
}

// benchAwaitRead waits until the index has read what is on disk.
func benchAwaitRead(x *index.Index) {
	for slices.ContainsFunc(x.Stats().Classes, func(c index.ClassStats) bool { return c.Unread }) {
		<-time.After(10 * time.Millisecond)
	}
}

// tokens makes digests of tokens' usual names, as many at a time as fit in a processor's cache: so that what is waited
// for is the index's memory, and not that of the questions. No revocation has such a digest.
type tokens struct {
	state uint64
	made  [ahead][7]record.Digest
	at    int
}

const ahead = 512

func newTokens() *tokens {
	t := &tokens{state: 1, at: ahead}
	for i := range t.made {
		copy(t.made[i][:], whole(0))
	}
	return t
}

func (t *tokens) next() *[7]record.Digest {
	if t.at == ahead {
		t.make()
	}
	t.at++
	return &t.made[t.at-1]
}

func (t *tokens) make() {
	t.at = 0
	for i := range t.made {
		for n := range t.made[i] {
			t.state += 0x9e3779b97f4a7c15 // splitmix64
			z := t.state
			z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
			z = (z ^ z>>27) * 0x94d049bb133111eb
			binary.LittleEndian.PutUint64(t.made[i][n][1:], z^z>>31)
			binary.LittleEndian.PutUint64(t.made[i][n][9:], z*0x9e3779b97f4a7c15)
		}
	}
}

// floor reads one line of as much memory as the filter of the name's class has, for each of a token's names: what a
// look-up has to do at least.
type floor [record.Classes][][8]uint64

func newFloor(x *index.Index) *floor {
	f := new(floor)
	for _, c := range x.Stats().Classes {
		lines := make([][8]uint64, c.FilterBytes/64)
		for i := range lines {
			lines[i][0] = 1
		}
		f[c.Class] = lines
	}
	return f
}

func (f *floor) firstDenied(all []record.Digest) int {
	for i := range all {
		d := &all[i]
		lines := f[d[0]]
		if len(lines) == 0 {
			continue
		}
		at, _ := bits.Mul64(binary.BigEndian.Uint64(d[1:]), uint64(len(lines)))
		if lines[at][0] == 0 {
			return i
		}
	}
	return -1
}

// benchMisses looks tokens up that are not revoked, in turns with the floor, and gives the medians: what others do on
// the machine meanwhile falls on both. Warm are a few tokens again and again.
func benchMisses(b *testing.B, x *index.Index) {
	b.Helper()
	f, t, took := newFloor(x), newTokens(), map[string][]float64{}
	round := func(name string, names int, firstDenied func([]record.Digest) int) {
		start := time.Now()
		for i := range t.made {
			if firstDenied(t.made[i][:names]) >= 0 {
				b.Fatal("denied")
			}
		}
		took[name] = append(took[name], float64(time.Since(start).Nanoseconds())/ahead)
	}
	look := func(all []record.Digest) int { return x.FirstDenied(all, 1) }
	before := x.Stats().Settled
	for b.Loop() {
		t.make()
		round("floor", len(t.made[0]), f.firstDenied)
		t.make()
		round("cold", len(t.made[0]), look)
		round("warm", len(t.made[0]), look)
	}
	for name, all := range took {
		slices.Sort(all)
		b.ReportMetric(all[len(all)/2], "ns-"+name)
	}
	b.ReportMetric(took["cold"][b.N/2]/took["floor"][b.N/2], "cold/floor")
	b.ReportMetric(float64(x.Stats().Settled.No-before.No)/float64(b.N*ahead), "disk/token")
	b.ReportMetric(0, "ns/op")
}

func benchLookups(b *testing.B, x *index.Index) {
	b.Helper()
	b.Run("miss", func(b *testing.B) { benchMisses(b, x) })
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // not a secret
	hits := make([][]record.Digest, 1<<16)
	for i := range hits {
		hits[i] = whole(random.IntN(*benchRevocations))
	}
	for name, among := range map[string]int{"hit": len(hits), "hit again": 100} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if x.FirstDenied(hits[i%among], 1) < 0 {
					b.Fatal("not denied")
				}
			}
		})
	}
}
