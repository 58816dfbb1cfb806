package pepper_test

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"veto/record"
	"veto/replication/pepper"
)

func newKey() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b)
	return base64.StdEncoding.EncodeToString(b)
}

func ring(t testing.TB, keys ...string) *pepper.Ring {
	t.Helper()
	r, err := pepper.ParseRing([]byte(strings.Join(keys, "\n") + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// zeros makes peppers and nonces of zero bytes, so that what is in them is known.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

func put(t testing.TB, r *pepper.Ring, random io.Reader, id record.PepperID) record.Pepper {
	t.Helper()
	p, err := r.Make(random, "c", id)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// W1
func TestWrappedIsReadBack(t *testing.T) {
	one, two := newKey(), newKey()
	was, both, now := ring(t, one), ring(t, two, one), ring(t, two)
	p := put(t, was, rand.Reader, 1)
	again, err := both.Rewrap(rand.Reader, "c", p)
	if err != nil || again.ID != 1 || again.WrappedBy != now.First() || again.WrappedBy == p.WrappedBy {
		t.Fatalf("%+v %v", again, err)
	}
	altered := p
	altered.Wrapped = append([]byte(nil), p.Wrapped...)
	altered.Wrapped[20] ^= 1
	other, short := p, p
	other.ID, short.Wrapped = 2, p.Wrapped[:5]
	sums := map[record.KeyHash]bool{}
	for name, c := range map[string]struct {
		ring    *pepper.Ring
		cluster string
		p       record.Pepper
		ok      bool
	}{
		"by its key":           {was, "c", p, true},
		"by the second key":    {both, "c", p, true},
		"wrapped anew":         {now, "c", again, true},
		"another key":          {now, "c", p, false},
		"no key":               {nil, "c", p, false},
		"of another cluster":   {was, "d", p, false},
		"as another pepper":    {was, "c", other, false},
		"altered":              {was, "c", altered, false},
		"cut":                  {was, "c", short, false},
		"the key is gone":      {was, "c", again, false},
		"with the wrong label": {now, "c", record.Pepper{ID: 1, Wrapped: p.Wrapped, WrappedBy: again.WrappedBy}, false},
	} {
		all, err := new(pepper.Peppers).With(c.ring, c.cluster, c.p)
		if (err == nil) != c.ok || all.Locked() == c.ok {
			t.Errorf("%s: %v, locked %t", name, err, all.Locked())
		}
		if c.ok {
			sums[all.Sum(record.KeyHash{1}, record.ChainOf(1))] = true
		}
	}
	if len(sums) != 1 {
		t.Errorf("%d peppers", len(sums))
	}
}

// W2
func TestKeyFile(t *testing.T) {
	one, two := newKey(), newKey()
	for name, c := range map[string]struct {
		content string
		keys    int
	}{
		"one":              {one + "\n", 1},
		"without its end":  {one, 1},
		"two":              {one + "\r\n" + two + "\n\n", 2},
		"none":             {"\n", 0},
		"three":            {one + "\n" + two + "\n" + newKey(), 0},
		"twice the same":   {one + "\n" + one, 0},
		"too short":        {base64.StdEncoding.EncodeToString(make([]byte, 31)), 0},
		"not base64":       {"correct horse battery staple", 0},
		"one and a remark": {one + "\nold", 0},
		"too much":         {one + strings.Repeat("\n", pepper.MaxKeyFile), 0},
	} {
		r, err := pepper.ParseRing([]byte(c.content))
		if (err == nil) != (c.keys > 0) || len(r.Fingerprints()) != c.keys {
			t.Errorf("%s: %v %v", name, r.Fingerprints(), err)
		}
		if err != nil && (strings.Contains(err.Error(), "staple") || strings.Contains(err.Error(), one)) {
			t.Errorf("%s: the error repeats what is in the file: %v", name, err)
		}
	}
	if ring(t, one).First() == ring(t, two).First() {
		t.Error("two keys with one fingerprint")
	}
}

// W3
func TestSumIsNestedHMAC(t *testing.T) {
	r, p := ring(t, newKey()), new(pepper.Peppers)
	for id := record.PepperID(4); id <= 6; id++ {
		var err error
		if p, err = p.With(r, "c", put(t, r, zeros{}, id)); err != nil {
			t.Fatal(err)
		}
	}
	by := func(h record.KeyHash) record.KeyHash {
		m := hmac.New(sha256.New, make([]byte, 32))
		m.Write(h[:])
		return record.KeyHash(m.Sum(nil))
	}
	h := record.KeyHash{1, 2, 3}
	for chain, want := range map[record.Chain]record.KeyHash{
		{}: h, {From: 4, To: 4}: by(h), {From: 5, To: 6}: by(by(h)), {From: 4, To: 6}: by(by(by(h))),
	} {
		if got := p.Sum(h, chain); got != want {
			t.Errorf("%v: %x", chain, got)
		}
	}
	if got, c := p.Extend(by(h), record.ChainOf(4)); got != by(by(by(h))) || c != (record.Chain{From: 4, To: 6}) {
		t.Errorf("%x %v", got, c)
	}
	if got, c := p.Extend(h, record.Chain{}); got != by(h) || c != record.ChainOf(6) {
		t.Errorf("%x %v", got, c)
	}
	if every := p.Every(); len(every) != 6 || p.Newest() != 6 {
		t.Errorf("%v", every)
	}
	least := testing.AllocsPerRun(1, func() { p.Sum(h, record.Chain{From: 4, To: 6}) })
	for range 100 { // with -race a pool forgets a quarter of what it is given
		least = min(least, testing.AllocsPerRun(1, func() { p.Sum(h, record.Chain{From: 4, To: 6}) }))
	}
	if least != 0 {
		t.Errorf("%v allocations", least)
	}
}

// W4
func TestPeppersAreLocked(t *testing.T) {
	mine, other := ring(t, newKey()), ring(t, newKey())
	rapid.Check(t, func(t *rapid.T) {
		p, there := new(pepper.Peppers), map[record.PepperID]bool{}
		for range 20 {
			id := record.PepperID(rapid.IntRange(1, 3).Draw(t, "id"))
			switch rapid.SampledFrom([]string{"mine", "other's", "gone"}).Draw(t, "what") {
			case "mine":
				c, _ := mine.Make(rand.Reader, "c", id)
				p, _ = p.With(mine, "c", c)
				there[id] = true
			case "other's":
				c, _ := other.Make(rand.Reader, "c", id)
				p, _ = p.With(mine, "c", c)
				there[id] = false
			case "gone":
				p = p.Without(id)
				delete(there, id)
			}
			locked := false
			for _, ok := range there {
				locked = locked || !ok
			}
			if p.Locked() != locked || len(p.Records()) != len(there) {
				t.Fatalf("%v: locked %t, %+v", there, p.Locked(), p.Records())
			}
		}
	})
}

// W1: whatever is in the state, it is read or refused.
func FuzzUnwrap(f *testing.F) {
	r := ring(f, newKey())
	good := put(f, r, rand.Reader, 1)
	f.Add(good.Wrapped, "c", uint32(1))
	f.Add([]byte{}, "", uint32(0))
	f.Add(good.Wrapped[:12], "c", uint32(1))
	f.Fuzz(func(t *testing.T, wrapped []byte, cluster string, id uint32) {
		p, err := new(pepper.Peppers).With(r, cluster, record.Pepper{ID: record.PepperID(id), Wrapped: wrapped, WrappedBy: r.First()})
		if same := string(wrapped) == string(good.Wrapped) && cluster == "c" && id == 1; same != (err == nil) || p.Locked() == same {
			t.Fatalf("%x of %q as %d: %v", wrapped, cluster, id, err)
		}
	})
}

// W6
func TestKeysAreTaken(t *testing.T) {
	one, two, three := newKey(), newKey(), newKey()
	held := ring(t, one)
	p := put(t, held, rand.Reader, 1)
	if _, err := held.Take(ring(t, two), []record.Pepper{p}); err == nil || !strings.Contains(err.Error(), held.First()) || strings.Contains(err.Error(), two) {
		t.Errorf("keys that unwrap nothing: %v", err)
	}
	if held.First() != ring(t, one).First() {
		t.Fatal("keys that were refused were taken")
	}
	for _, c := range []struct {
		keys    []string
		changed bool
	}{{[]string{one}, false}, {[]string{two, one}, true}, {[]string{two, one}, false}} {
		if changed, err := held.Take(ring(t, c.keys...), []record.Pepper{p}); err != nil || changed != c.changed {
			t.Errorf("%t %v", changed, err)
		}
	}
	again, err := held.Rewrap(rand.Reader, "c", p)
	if err != nil || again.WrappedBy != ring(t, two).First() {
		t.Fatalf("%+v %v", again, err)
	}
	if _, err := held.Take(ring(t, two), []record.Pepper{again}); err != nil {
		t.Errorf("without the key that is of no more use: %v", err)
	}
	// What could not be unwrapped before keeps no key out.
	if _, err := held.Take(ring(t, three, two), []record.Pepper{p, again}); err != nil {
		t.Error(err)
	}
}
