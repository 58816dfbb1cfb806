package remembered_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"veto/record"
	"veto/validate"
	"veto/validate/keyset"
	"veto/validate/remembered"
)

var now = time.Unix(1_800_000_000, 0)

func issuers(revision record.Revision) []record.Issuer {
	return []record.Issuer{{ID: "a", Issuer: "iss-a", Revision: revision}, {ID: "b", Issuer: "iss-b", Revision: 1}}
}

func trust(t testing.TB, h *keyset.Holder, iss string) *keyset.Trust {
	t.Helper()
	found, ok := h.Load().Issuer(iss)
	if !ok {
		t.Fatal(iss)
	}
	return found
}

func open(t testing.TB, bytes uint64) (*remembered.Tokens, *keyset.Holder) {
	t.Helper()
	x, err := remembered.New(bytes)
	if err != nil {
		t.Fatal(err)
	}
	h := keyset.NewHolder()
	h.Swap(issuers(1), nil)
	return x, h
}

func entry(trust *keyset.Trust, subject string) remembered.Token {
	return remembered.Token{
		Claims: &validate.Claims{Subject: subject, Raw: validate.JSON(strings.Repeat("x", 400))}, Trust: trust,
		From: now.Add(-time.Minute), Until: now.Add(time.Minute),
	}
}

// T1
func TestFoundByTheWholeToken(t *testing.T) {
	x, h := open(t, 1<<20)
	token := strings.Repeat("e", 700)
	x.Put(token, entry(trust(t, h, "iss-a"), "alice"))
	if c, ok := x.Get(strings.Clone(token), now); !ok || c.Subject != "alice" {
		t.Error("not found")
	}
	for i := range token {
		other := []byte(token)
		other[i] ^= 1
		if _, ok := x.Get(string(other), now); ok {
			t.Fatalf("found with byte %d changed", i)
		}
	}
	if _, ok := x.Get(token[1:], now); ok {
		t.Error("a part was found")
	}
}

// T1
func TestForgottenWithItsTrust(t *testing.T) {
	x, h := open(t, 1<<20)
	x.Put("a", entry(trust(t, h, "iss-a"), "alice"))
	x.Put("b", entry(trust(t, h, "iss-b"), "bob"))
	before := trust(t, h, "iss-a")
	h.Swap(issuers(2), nil)
	if _, ok := x.Get("a", now); ok {
		t.Error("found after its issuer's rules had changed")
	}
	if _, ok := x.Get("b", now); !ok {
		t.Error("another issuer's token was forgotten, too")
	}
	// One that was verified before the change and comes after it.
	x.Put("late", entry(before, "eve"))
	if _, ok := x.Get("late", now); ok {
		t.Error("found with rules that were replaced while it was verified")
	}
	h.Swap(issuers(2), []record.SigningKeys{{IssuerID: "b", Revision: 7}})
	if _, ok := x.Get("b", now); ok {
		t.Error("found after its issuer's keys had changed")
	}
	h.Swap(nil, nil)
	x.Put("b", entry(before, "bob"))
	if _, ok := x.Get("b", now); ok {
		t.Error("found after the trust had ended")
	}
}

// T1
func TestForgottenOutsideItsTime(t *testing.T) {
	x, h := open(t, 1<<20)
	for at, want := range map[time.Time]bool{
		now: true, now.Add(-time.Minute): true, now.Add(-time.Minute - 1): false, now.Add(time.Minute - 1): true, now.Add(time.Minute): false,
	} {
		x.Put("a", entry(trust(t, h, "iss-a"), "alice"))
		if _, ok := x.Get("a", at); ok != want {
			t.Errorf("at %s: %v", at.Sub(now), ok)
		}
	}
}

// T2
func TestWeightIsBounded(t *testing.T) {
	const limit = 4 << 20
	x, h := open(t, limit)
	most := uint64(0)
	for i := range 50_000 {
		x.Put(fmt.Sprintf("%d%s", i, strings.Repeat("e", 600)), entry(trust(t, h, "iss-a"), "one of many"))
		most = max(most, x.Weight())
	}
	// A little over, as it is tidied up after each change.
	if most > limit+limit/10 || x.Len() < 1000 {
		t.Errorf("%d bytes of at most %d, %d tokens", most, limit, x.Len())
	}
}

// T3
func TestFloodLeavesTheHot(t *testing.T) {
	x, h := open(t, 4<<20)
	hot := make([]string, 200)
	for i := range hot {
		hot[i] = fmt.Sprintf("hot %d %s", i, strings.Repeat("h", 600))
	}
	ask := func() (found int) {
		for _, token := range hot {
			if _, ok := x.Get(token, now); ok {
				found++
				continue
			}
			x.Put(token, entry(trust(t, h, "iss-a"), "hot"))
		}
		return found
	}
	for range 20 {
		ask()
	}
	found, asked := 0, 0
	for i := range 200_000 {
		x.Put(fmt.Sprintf("%d%s", i, strings.Repeat("e", 600)), entry(trust(t, h, "iss-a"), "one of many"))
		if i%1000 == 999 { // the hot ones come, all together, a fifth as often as the flood
			found, asked = found+ask(), asked+len(hot)
		}
	}
	if found*100 < asked*95 {
		t.Errorf("of %d times that a hot token came during the flood, it was found %d times", asked, found)
	}
}

// T4
func TestGetDoesNotAllocate(t *testing.T) {
	x, h := open(t, 1<<20)
	token := strings.Repeat("e", 700)
	x.Put(token, entry(trust(t, h, "iss-a"), "alice"))
	if n := testing.AllocsPerRun(1000, func() {
		if _, ok := x.Get(token, now); !ok {
			t.Fatal("not found")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
