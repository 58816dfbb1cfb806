package index_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"veto/record"
	"veto/replication/index"
	"veto/replication/settled"
)

const manyExact = 1 << 30

// model is what is revoked, told in the plainest way: by value, the buckets with their cut-offs.
type model map[string]map[[2]int64]bool

func (m model) find(v string, iat int64) (bucket int64, found bool) {
	for r := range m[v] {
		if iat <= r[1] && (!found || r[0] > bucket) {
			bucket, found = r[0], true
		}
	}
	return bucket, found
}

// step draws one command and does it to the model.
func (m model) step(rt *rapid.T) []record.Change {
	first := rapid.IntRange(0, 149).Draw(rt, "first")
	last := min(first+rapid.SampledFrom([]int{1, 1, 3, 150}).Draw(rt, "many"), 150)
	var changes []record.Change
	switch rapid.IntRange(0, 5).Draw(rt, "what") {
	case 0:
		for i := first; i < last; i++ {
			for r := range m[fmt.Sprint(i)] {
				lifted := revocation(fmt.Sprint(i), r[1], r[0]%int64(record.Forever))
				if r[1] == record.DeniesAll {
					lifted = revocation(fmt.Sprint(i), 0, r[0]%int64(record.Forever))
				}
				changes = append(changes, record.Change{Record: &lifted, Gone: true})
			}
			delete(m, fmt.Sprint(i))
		}
	case 1:
		below := record.Bucket(rapid.IntRange(1, 50).Draw(rt, "below"))
		changes = []record.Change{{Record: &record.Expiry{Before: below}, Gone: true}}
		for _, rules := range m {
			for r := range rules {
				if r[0] < int64(below) {
					delete(rules, r)
				}
			}
		}
	default:
		cutoff, kept := rapid.Int64Range(0, 9).Draw(rt, "cutoff"), rapid.Int64Range(0, 60).Draw(rt, "kept")
		for i := first; i < last; i++ {
			r := revocation(fmt.Sprint(i), cutoff, kept)
			changes = append(changes, record.Change{Record: &r})
			if m[r.Value] == nil {
				m[r.Value] = map[[2]int64]bool{}
			}
			m[r.Value][[2]int64{int64(r.Bucket()), r.Cutoff()}] = true
		}
	}
	return changes
}

// X1, X3: whatever the history, an index gives the same answers as the model, in either mode, on
// the way from one to the other, while a filter is made anew, and after a restart.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		all := []node{newNode(t, manyExact), newNode(t, rapid.IntRange(1, 120).Draw(rt, "max")), newNode(t, 0)}
		defer func() {
			for _, n := range all {
				_ = n.Close()
			}
		}()
		m := model{}
		for rev := record.Revision(1); rev < 25; rev++ {
			changes := m.step(rt)
			for _, n := range all {
				n.Apply(changes, rev)
			}
			switch rapid.IntRange(0, 5).Draw(rt, "then") {
			case 0:
				for _, n := range all {
					n.Settle()
				}
			case 1:
				for _, n := range all {
					if err := n.Load(none, "c", digestKey, rev); err != nil {
						rt.Fatal(err)
					}
				}
			}
			for i := range 150 {
				v, iat := fmt.Sprint(i), int64(i%11)
				b, want := m.find(v, iat)
				for which, n := range all {
					hit, got := n.Revoked(digest(v), iat)
					if got != want || got && int64(hit.Bucket) != b {
						rt.Fatalf("revision %d, index %d, %s issued at %d: %v %+v, want %v %d; %+v", rev, which, v, iat, got, hit, want, b, n.Stats())
					}
				}
			}
		}
		if n := all[2]; n.Stats().Revocations > 0 {
			if n.Settle(); !n.filtered() {
				rt.Fatalf("no filter: %+v", n.Stats())
			}
		}
	})
}

// X12
func TestStartReadsOneOfEach(t *testing.T) {
	n := newNode(t, manyExact)
	_ = n.Close() // nothing reads what there is
	m := model{}
	for i := range int64(3000) {
		r := revocation(fmt.Sprint(i), i%3*50, 1+i%2)
		n.disk.commit([]record.Change{{Record: &r}})
		m[r.Value] = map[[2]int64]bool{{int64(r.Bucket()), r.Cutoff()}: true}
	}
	if err := n.Load(none, "c", digestKey, 1); err != nil {
		t.Fatal(err)
	}
	if read := n.disk.read.Load(); read > 2 {
		t.Errorf("%d were read as it started", read)
	}
	same := func() {
		t.Helper()
		for i := range int64(4000) {
			b, want := m.find(fmt.Sprint(i), i%101)
			if hit, got := n.Revoked(digest(fmt.Sprint(i)), i%101); got != want || got && int64(hit.Bucket) != b {
				t.Fatalf("%d: %v %+v, want %v %d", i, got, hit, want, b)
			}
		}
	}
	if c := n.Stats().Classes[0]; !c.Unread || !c.Filtered {
		t.Errorf("%+v", c)
	}
	same()
	if err := n.Renew(); err != nil {
		t.Fatal(err)
	}
	if c := n.Stats().Classes[0]; c.Unread || c.Filtered || c.Revocations != 3000 {
		t.Errorf("%+v", c)
	}
	same()
}

// X1, X3: what is changed while the rest is read from the disk is as if it had been read before.
func TestReadBesideTheWriter(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := newNode(t, rapid.SampledFrom([]int{manyExact, 100, 0}).Draw(rt, "max"))
		_ = n.Close() // the test is the builder
		m, rev := model{}, record.Revision(0)
		step := func() {
			rev++
			n.Apply(m.step(rt), rev)
		}
		for range 8 {
			step()
		}
		if err := n.Load(none, "c", digestKey, rev); err != nil {
			rt.Fatal(err)
		}
		first, every := n.disk.read.Load(), rapid.Int64Range(1, 100).Draw(rt, "every")
		between := func(read int64) {
			if (read-first)%every == 0 && rev < 30 {
				step()
			}
		}
		n.disk.between.Store(&between)
		if err := n.Renew(); err != nil {
			rt.Fatal(err)
		}
		for i := range 150 {
			v, iat := fmt.Sprint(i), int64(i%11)
			b, want := m.find(v, iat)
			if hit, got := n.Revoked(digest(v), iat); got != want || got && int64(hit.Bucket) != b {
				rt.Fatalf("revision %d, %s issued at %d: %v %+v, want %v %d; %+v", rev, v, iat, got, hit, want, b, n.Stats())
			}
		}
	})
}

// X3: what is shown as revoked stays so for every reader, while a class goes over to a filter, the
// filter grows, others are lifted and expire, and it is made anew.
func TestBuildingHidesNothing(t *testing.T) {
	n := newNode(t, 500)
	const last = 6000
	var shown atomic.Int64
	var wg sync.WaitGroup
	for seed := range uint64(2) {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // not a secret
			for {
				top := shown.Load()
				if top > 0 {
					v := 1 + random.Int64N(top)
					if _, ok := n.Revoked(digest(fmt.Sprint("keep", v)), 1); !ok {
						t.Errorf("%d of %d is not denied", v, top)
						return
					}
				}
				if top == last {
					return
				}
			}
		})
	}
	for i := int64(1); i <= last; i++ {
		keep, goes := revocation(fmt.Sprint("keep", i), 0, 0), revocation(fmt.Sprint("goes", i), 0, i/1000+1)
		n.Apply([]record.Change{{Record: &keep}, {Record: &goes}}, record.Revision(2*i))
		switch shown.Store(i); {
		case i%1000 == 0:
			n.Apply([]record.Change{{Record: &record.Expiry{Before: record.Bucket(i / 1000)}, Gone: true}}, record.Revision(2*i+1))
		case i%2 == 0:
			n.Apply([]record.Change{{Record: &goes, Gone: true}}, record.Revision(2*i+1))
		}
	}
	wg.Wait()
	if n.Settle(); !n.filtered() {
		t.Error("there was no filter")
	}
}

// X3: what the writer adds at the very moment at which a new filter is shown is in it.
func TestNothingIsLostAtTheSwap(t *testing.T) {
	n := newNode(t, 0)
	_ = n.Close() // the test is the builder
	done := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(done)
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				if err := n.Renew(); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	for i := int64(1); i <= 8_000; i++ {
		r := revocation(fmt.Sprint(i), 0, i/100+1)
		n.Apply([]record.Change{{Record: &r}, {Record: &record.Expiry{Before: record.Bucket(i / 100)}, Gone: true}}, record.Revision(i))
		for back := max(i-50, i/100*100, 1); back <= i; back++ {
			if _, ok := n.Revoked(digest(fmt.Sprint(back)), 1); !ok {
				t.Fatalf("%d is not denied after %d", back, i)
			}
		}
	}
}

// X4
func TestFilterFollowsWhatThereIs(t *testing.T) {
	n := newNode(t, 10)
	fill := func(from, to int, kept int64) {
		var changes []record.Change
		for i := from; i < to; i++ {
			r := revocation(fmt.Sprint(i), 0, kept)
			changes = append(changes, record.Change{Record: &r})
		}
		n.Apply(changes, record.Revision(to))
		n.Settle()
		for i := range to {
			if _, ok := n.Revoked(digest(fmt.Sprint(i)), 1); !ok {
				t.Fatalf("%d of %d is not denied", i, to)
			}
		}
	}
	each := func(min, max float64) {
		t.Helper()
		s := n.Stats().Classes[0]
		if got := float64(s.Bytes-settled.Bytes()) / float64(s.Revocations); got < min || got > max || !s.Filtered {
			t.Errorf("%.2f bytes for each of %d", got, s.Revocations)
		}
	}
	fill(0, 500, 5)
	for to := 1000; to <= 16000; to *= 2 {
		fill(to/2, to, 5)
		each(1.9, 3)
	}
	fill(16000, 20000, 9)
	n.Apply([]record.Change{{Record: &record.Expiry{Before: 9}, Gone: true}}, 30000)
	n.Settle()
	each(1.9, 3)
	if err := n.Load(none, "c", digestKey, 30000); err != nil {
		t.Fatal(err)
	}
	n.Settle()
	each(1.9, 3)
	for i := range 20000 {
		if _, ok := n.Revoked(digest(fmt.Sprint(i)), 1); ok != (i >= 16000) {
			t.Fatalf("%d: %v", i, ok)
		}
	}
	before := n.disk.asked.Load()
	const strangers = 100_000
	for i := range strangers {
		if _, ok := n.Revoked(digest(fmt.Sprint("no", i)), 1); ok {
			t.Fatalf("%d is denied", i)
		}
	}
	if asked := n.disk.asked.Load() - before; asked > strangers/200 {
		t.Errorf("the disk was asked %d times for %d names that are not revoked", asked, strangers)
	}
}

// X7
func TestDiskIsAskedOnce(t *testing.T) {
	n := newNode(t, 0)
	a := revocation("a", 100, 5)
	rev := record.Revision(0)
	change := func(r record.Revocation, gone bool) {
		rev++
		n.Apply([]record.Change{{Record: &r, Gone: gone}}, rev)
	}
	asked := func(issuedAt int64, denied bool, disk int64) {
		t.Helper()
		before := n.disk.asked.Load()
		for range 3 {
			if _, ok := n.Revoked(digest("a"), issuedAt); ok != denied {
				t.Errorf("issued at %d: denied %v", issuedAt, ok)
			}
		}
		if got := n.disk.asked.Load() - before; got != disk {
			t.Errorf("issued at %d: the disk was asked %d times, not %d", issuedAt, got, disk)
		}
	}
	change(a, false)
	asked(100, true, 1)
	asked(101, false, 1)
	change(revocation("a", 101, 5), false)
	asked(101, true, 1)
	change(revocation("b", 0, 5), false)
	asked(101, true, 0)
	change(revocation("a", 101, 5), true)
	asked(101, false, 1)
	asked(100, true, 1)
	rev++
	n.Apply([]record.Change{{Record: &record.Expiry{Before: 9}, Gone: true}}, rev)
	asked(100, false, 1)
}

// X5
func TestDiskErrorDenies(t *testing.T) {
	n := newNode(t, 0)
	r := revocation("a", 0, 0)
	n.Apply([]record.Change{{Record: &r}}, 1)
	n.Settle()
	failure := errors.New("the disk is on fire")
	n.disk.failure.Store(&failure)
	if hit, ok := n.Revoked(digest("a"), 1); !ok || hit.By != index.ByFailure || n.Stats().Settled.Failed != 1 {
		t.Errorf("%v %+v %+v", ok, hit, n.Stats())
	}
	if _, ok := n.Revoked(digest("b"), 1); ok {
		t.Error("what the filter rules out is denied as well")
	}
	if err := n.Load(none, "c", digestKey, 2); !errors.Is(err, failure) || n.Revision() != 1 {
		t.Errorf("%v at revision %d", err, n.Revision())
	}
	// A filter that cannot be built changes nothing, and is built once the disk can be read.
	for i := range 1000 {
		r := revocation(fmt.Sprint(i), 0, 0)
		n.Apply([]record.Change{{Record: &r}}, record.Revision(2+i))
	}
	n.disk.failure.Store(nil)
	n.Settle()
	for i := range 1000 {
		if _, ok := n.Revoked(digest(fmt.Sprint(i)), 1); !ok {
			t.Fatalf("%d is not denied", i)
		}
	}
}

// X6
func TestMeansAreTold(t *testing.T) {
	for exactMax, want := range map[int][2]string{manyExact: {"exact table", "filter said no"}, 0: {"disk said yes", "filter said no"}} {
		n := newNode(t, exactMax)
		r := revocation("a", 0, 0)
		if hit, _ := n.Revoked(digest("a"), 1); hit.By != index.ByNothing {
			t.Errorf("%v", hit.By)
		}
		n.Notice(record.Notice{Cluster: "c", Revision: 1, Revocations: []record.Revocation{r}})
		if hit, _ := n.Revoked(digest("a"), 1); hit.By != index.ByNotice {
			t.Errorf("%v", hit.By)
		}
		n.Apply([]record.Change{{Record: &r}}, 1)
		n.Settle()
		for i, v := range []string{"a", "b"} {
			if hit, _ := n.Revoked(digest(v), 1); !strings.Contains(hit.By.String(), want[i]) {
				t.Errorf("%s: %v, want %s", v, hit.By, want[i])
			}
		}
		n.Apply([]record.Change{{Record: &r, Gone: true}}, 2)
		if hit, ok := n.Revoked(digest("a"), 1); ok || exactMax == 0 && hit.By != index.ByDiskNo {
			t.Errorf("lifted: %v %v", ok, hit.By)
		}
	}
}
