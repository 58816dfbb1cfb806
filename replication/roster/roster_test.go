package roster

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
)

func start(t *testing.T, self Member, key byte) *Roster {
	t.Helper()
	r, err := Start(Config{Self: self, Bind: "127.0.0.1:0", Keys: [][]byte{bytes.Repeat([]byte{key}, KeyBytes)}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// await waits until what the roster says of the members is as wanted.
func await(t *testing.T, r *Roster, want string) {
	t.Helper()
	limit := time.After(30 * time.Second)
	for {
		var got []string
		for _, m := range r.Members() {
			got = append(got, fmt.Sprintf("%s:%s:%s", m.ID, m.State, m.Region))
		}
		if strings.Join(got, " ") == want {
			return
		}
		select {
		case <-r.Changed():
		case <-limit:
			t.Fatalf("%v, want %s", got, want)
		}
	}
}

// G1
func TestMembersMeet(t *testing.T) {
	a, b := start(t, Member{ID: "a", Region: "eu"}, 1), start(t, Member{ID: "b"}, 1)
	if n, err := b.Join([]string{a.Addr()}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	c := start(t, Member{ID: "c"}, 1)
	if _, err := c.Join([]string{b.Addr()}); err != nil {
		t.Fatal(err)
	}
	await(t, a, "a:alive:eu b:alive: c:alive:")
	await(t, c, "a:alive:eu b:alive: c:alive:")
	if err := b.Change(func(m *Member) { m.Region = "us" }); err != nil {
		t.Fatal(err)
	}
	await(t, c, "a:alive:eu b:alive:us c:alive:")
	if err := b.Leave(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	await(t, a, "a:alive:eu b:left:us c:alive:")
}

// G1: nobody is waited for, also where nobody is to hear of it.
func TestChangeDoesNotWait(t *testing.T) {
	a, b := start(t, Member{ID: "a"}, 1), start(t, Member{ID: "b"}, 1)
	if _, err := b.Join([]string{a.Addr()}); err != nil {
		t.Fatal(err)
	}
	await(t, a, "a:alive: b:alive:")
	if err := a.Leave(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- a.Change(func(m *Member) { m.Region = "us" }) }()
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("a change of what a member says that has left does not end")
	}
}

// G2
func TestStrangersDoNotMeet(t *testing.T) {
	a := start(t, Member{ID: "a", ClusterID: "one"}, 1)
	for name, other := range map[string]*Roster{
		"another key":     start(t, Member{ID: "b", ClusterID: "one"}, 2),
		"another cluster": start(t, Member{ID: "c", ClusterID: "two"}, 1),
	} {
		_, _ = other.Join([]string{a.Addr()})
		if n := len(a.Members()); n != 1 {
			t.Errorf("%s: %d members", name, n)
		}
	}
}

// G3
func TestMetaFits(t *testing.T) {
	long := Member{ID: "a", Region: strings.Repeat("r", maxMeta)}
	if _, err := Start(Config{Self: long, Bind: "127.0.0.1:0", Keys: [][]byte{make([]byte, KeyBytes)}, Log: slog.New(slog.DiscardHandler)}); err == nil {
		t.Error("started with meta that does not fit")
	}
	full := Member{
		PeerAddr: strings.Repeat("h", 160) + ":65535", Region: strings.Repeat("r", 40),
		Role: "replica", Version: strings.Repeat("v", 30), Expect: 9, Founded: true, ClusterID: "cluster-" + strings.Repeat("0", 26),
	}
	b, err := full.encode()
	if err != nil {
		t.Fatal(err)
	}
	if back, err := decodeMeta(b); err != nil || back != full {
		t.Errorf("%+v %v", back, err)
	}
	a := start(t, Member{ID: "a"}, 1)
	if err := a.Change(func(m *Member) { m.Region = long.Region }); err == nil || a.Self().Region != "" {
		t.Error("updated with meta that does not fit")
	}
}

func TestParseKeys(t *testing.T) {
	const one, two = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	for content, want := range map[string]int{one + "\n": 1, one + "\n" + two + "\n": 2} {
		keys, err := ParseKeys([]byte(content))
		if err != nil || len(keys) != want || len(keys[want-1]) != KeyBytes || keys[want-1][0] != byte(want-1) {
			t.Errorf("%q: %v %v", content, keys, err)
		}
	}
	for _, bad := range []string{"", "x", "AAAA", one + "\nAAAA", strings.Repeat(one+"\n", maxKeys+1)} {
		if _, err := ParseKeys([]byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// G4
func TestKeyIsRotated(t *testing.T) {
	old, fresh := bytes.Repeat([]byte{1}, KeyBytes), bytes.Repeat([]byte{2}, KeyBytes)
	a, b := start(t, Member{ID: "a"}, 1), start(t, Member{ID: "b"}, 1)
	if _, err := b.Join([]string{a.Addr()}); err != nil {
		t.Fatal(err)
	}
	for n, keys := range [][][]byte{{old, fresh}, {fresh, old}, {fresh}} {
		for i, r := range []*Roster{a, b} {
			if err := r.SetKeys(keys); err != nil {
				t.Fatal(err)
			}
			told := fmt.Sprintf("%d-%d", n, i)
			if err := r.Change(func(m *Member) { m.Region = told }); err != nil {
				t.Fatal(err)
			}
			if r == a {
				await(t, b, "a:alive:"+told+" b:alive:"+b.Self().Region)
			} else {
				await(t, a, "a:alive:"+a.Self().Region+" b:alive:"+told)
			}
		}
	}
	if n := len(a.keyring.GetKeys()); n != 1 {
		t.Errorf("%d keys are read", n)
	}
	late := start(t, Member{ID: "late"}, 1)
	if n, err := late.Join([]string{a.Addr()}); n != 0 || err == nil {
		t.Error("who has only the old key is met")
	}
}

func FuzzDecodeMeta(f *testing.F) {
	f.Add([]byte(`{"p":"a:1","e":3}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMeta(b)
		if err != nil {
			return
		}
		if again, err := m.encode(); err == nil {
			if back, err := decodeMeta(again); err != nil || back != m {
				t.Fatalf("%+v, then %+v, %v", m, back, err)
			}
		}
	})
}

// G5: of members that are gone a bounded number is remembered, and of those that are there all are, whoever came first.
func TestGoneMembersAreForgotten(t *testing.T) {
	r := &Roster{log: slog.New(slog.DiscardHandler), changed: make(chan struct{}, 1), self: Member{ID: "self"}, members: map[string]Member{}}
	meta, err := Member{}.encode()
	if err != nil {
		t.Fatal(err)
	}
	const there = 7
	for i := range there {
		r.note(&memberlist.Node{Name: fmt.Sprint("there", i), Meta: meta}, stateAlive)
	}
	for i := range maxGone + 50 {
		name := fmt.Sprint("gone", i)
		r.note(&memberlist.Node{Name: name, Meta: meta}, stateAlive)
		r.note(&memberlist.Node{Name: name, Meta: meta}, stateDead)
	}
	alive := 0
	for _, m := range r.members {
		if m.State == stateAlive {
			alive++
		}
	}
	if len(r.members) != maxGone || alive != there {
		t.Errorf("%d are remembered, and %d of %d that are there", len(r.members), alive, there)
	}
}

// G6
func FuzzParseKeys(f *testing.F) {
	one := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, KeyBytes))
	for _, text := range []string{"", one, one + "\n" + one + "\r\n", one + "\nAAAA", one[:40], " " + one + "\t", "\x00" + one, strings.Repeat(one+"\n", maxKeys+1)} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		keys, err := ParseKeys(content)
		if err != nil {
			for _, line := range strings.Fields(string(content)) {
				if len(line) > 8 && strings.Contains(err.Error(), line) {
					t.Fatalf("%q is told in %q", line, err)
				}
			}
			return
		}
		if len(keys) == 0 || len(keys) > maxKeys {
			t.Fatalf("%d keys", len(keys))
		}
		var lines []string
		for _, key := range keys {
			if len(key) != KeyBytes {
				t.Fatalf("a key of %d bytes", len(key))
			}
			lines = append(lines, base64.StdEncoding.EncodeToString(key))
		}
		again, err := ParseKeys([]byte(strings.Join(lines, "\n")))
		if err != nil || !reflect.DeepEqual(again, keys) {
			t.Fatalf("%v, %v", again, err)
		}
	})
}
