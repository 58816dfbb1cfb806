package keytable_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"veto/record"
	"veto/record/limit"
	"veto/replication/keytable"
)

var (
	texts = rapid.SampledFrom([]string{"", "a", "shop-1", "veto_live_…abcd", strings.Repeat("x", 200)})
	lists = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c:*", ""}), 0, 3, rapid.ID[string])
	times = rapid.Custom(func(t *rapid.T) time.Time {
		second := rapid.Int64Range(-62135596801, 253402300799).Draw(t, "second")
		return rapid.SampledFrom([]time.Time{{}, time.Unix(second, rapid.Int64Range(0, 999999999).Draw(t, "nano")).UTC()}).Draw(t, "time")
	})
	numbers = rapid.Uint64()
)

// anyKey has whatever a key may have. Much of it is metadata, so that there are chunks enough.
func anyKey(t *rapid.T, id string, hash record.KeyHash) *record.APIKey {
	text, time := func(of string) string { return texts.Draw(t, of) }, func(of string) time.Time { return times.Draw(t, of) }
	list := func(of string) []string { return slices.Clip(append([]string(nil), lists.Draw(t, of)...)) }
	number := func(of string) record.Revision { return record.Revision(numbers.Draw(t, of)) }
	k := &record.APIKey{
		ID: id, Hash: hash, Consumer: text("consumer"), Name: text("name"), Hint: text("hint"), Environment: text("environment"),
		Scopes: list("scopes"), Issuers: list("issuers"), Consumers: list("consumers"), Targets: list("targets"),
		ExpiresAt: time("expires"), CreatedAt: time("created at"), RolledAt: time("rolled at"), LeakedAt: time("leaked at"),
		Revision: number("revision"), Created: number("created"), Rolled: number("rolled"),
		Disabled: rapid.Bool().Draw(t, "disabled"), Imported: rapid.Bool().Draw(t, "imported"),
	}
	for _, r := range list("roles") {
		k.Roles = append(k.Roles, record.Role(r))
	}
	if n := rapid.SampledFrom([]int{0, 1, 12 << 10, 16 << 10}).Draw(t, "metadata"); n > 0 {
		k.Metadata = json.RawMessage(strings.Repeat("m", n))
	}
	if rapid.Bool().Draw(t, "limited") {
		k.Limits = &limit.Limits{Rate: limit.Rate{Requests: uint32(number("rate")), Seconds: uint32(number("seconds"))}, Burst: uint32(number("burst"))}
		k.Limits.Quota = limit.Quota{Requests: uint64(number("quota")), Period: limit.Month}
	}
	if rapid.Bool().Draw(t, "leaked") {
		k.Leak = &record.Leak{Revision: number("leak"), By: text("by"), Where: text("where")}
	}
	return k
}

// Y6, and what is found is what was taken in.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{table: keytable.New(), keys: map[string]*record.APIKey{}, hashes: map[record.KeyHash]string{}}
		for range 60 { // so that there is more than one chunk
			m.change(t)
		}
		for range rapid.IntRange(1, 80).Draw(t, "n") {
			m.change(t)
			if rapid.Bool().Draw(t, "settle") {
				m.table.Settle()
				m.check(t)
			}
		}
		for _, k := range m.keys {
			m.table.Set(k, nil, true)
		}
		m.table.Settle()
		if w := m.table.Waste(); w.Had > keytable.ChunkSize || w.Live+w.Places+w.Sets > 0 || w.Slots > 16*256 || m.table.Size() > 0 {
			t.Fatalf("when all are gone there is left %+v", w)
		}
	})
}

type model struct {
	table  *keytable.Table
	keys   map[string]*record.APIKey
	hashes map[record.KeyHash]string // the ids
	made   int
}

func (m *model) hash() record.KeyHash { m.made++; return sha256.Sum256(fmt.Append(nil, m.made)) }

func (m *model) change(t *rapid.T) {
	id := fmt.Sprint("key_", rapid.IntRange(0, 60).Draw(t, "id"))
	was := m.keys[id]
	k, what := (*record.APIKey)(nil), rapid.IntRange(0, 9).Draw(t, "what")
	switch {
	case was == nil:
		k = anyKey(t, id, m.hash())
		m.table.Set(k, nil, false)
	case what == 0:
		m.table.Set(was, nil, true)
	case what < 5: // what is set of it
		k = anyKey(t, id, was.Hash)
		k.Rotating = was.Rotating
		m.table.Set(k, nil, false)
	case what < 7:
		k = anyKey(t, id, m.hash())
		k.Rotating = &record.Rotating{Hash: was.Hash, Hint: "h", Until: times.Draw(t, "until"), Imported: was.Imported, Chain: was.Chain}
		m.table.Set(k, was, false)
	case what == 7:
		k = new(*was)
		k.Rotating = nil
		m.table.Set(k, was, false)
	default:
		k = new(*was)
		k.Hash, k.Chain = m.hash(), record.Chain{From: 1, To: 2}
		m.table.Rehash(k, was)
	}
	for h, of := range m.hashes {
		if of == id {
			delete(m.hashes, h)
		}
	}
	if delete(m.keys, id); k == nil {
		return
	}
	m.keys[id], m.hashes[k.Hash] = k, id
	if k.Rotating != nil {
		m.hashes[k.Rotating.Hash] = id
	}
}

func (m *model) check(t *rapid.T) {
	var room record.KeyRoom
	live := 0
	for h, id := range m.hashes {
		want := m.keys[id]
		k, ok := m.table.Stored(h, &room)
		if !ok {
			t.Fatalf("%s is not found", id)
		}
		if diff := cmp.Diff(want, shown(k), chains); diff != "" {
			t.Fatal(diff)
		}
	}
	for _, k := range m.keys {
		live += len(k.Metadata)
	}
	for n := range m.made {
		if _, ok := m.table.Stored(sha256.Sum256(fmt.Append(nil, n+1)), &room); ok != (m.hashes[sha256.Sum256(fmt.Append(nil, n+1))] != "") {
			t.Fatalf("the hash %d: found %t", n+1, ok)
		}
	}
	w := m.table.Waste()
	if w.Live < live || w.Places != len(m.keys) || m.table.Size() != len(m.hashes) {
		t.Fatalf("%+v for %d keys with %d hashes", w, len(m.keys), len(m.hashes))
	}
	// The end of a chunk is too small for what came next, of 17 KiB; and there is the last chunk.
	if w.Had > w.Live*3/2+keytable.ChunkSize {
		t.Fatalf("%d bytes are had for %d", w.Had, w.Live)
	}
}

// Y7: each version of a key says in all its parts which it is.
func TestReadersSeeOneRecord(t *testing.T) {
	const keys, rounds = 64, 150
	x := keytable.New()
	x.Role(&record.DefinedRole{ID: "r", Scopes: []string{"granted"}}, false)
	sum := func(n int) record.KeyHash { return sumOf(fmt.Sprint(n)) }
	made := func(n, version int) *record.APIKey {
		id, tag := fmt.Sprint("key_", n), fmt.Sprint(version)
		k := &record.APIKey{ID: id, Consumer: "shop", Hash: sum(n), Name: tag, Scopes: []string{id, tag}, Roles: []record.Role{"r"}}
		k.Metadata = json.RawMessage(strings.Repeat(tag+" ", 1000+version%7*300))
		return k
	}
	var done atomic.Bool
	var wg sync.WaitGroup
	for g := range 3 {
		wg.Go(func() {
			var room record.KeyRoom
			for i := g; !done.Load(); i++ {
				k, _, ok := x.Find(sum(i%keys), &room)
				if !ok {
					continue
				}
				k.Uses.Note(time.Unix(1_800_000_000, 0))
				id := fmt.Sprint("key_", i%keys)
				scopes := k.AllScopes()
				if k.ID != id || len(scopes) != 3 || scopes[0] != id || scopes[1] != k.Name || strings.Trim(string(k.Metadata), k.Name+" ") != "" ||
					!strings.HasPrefix(string(k.Metadata), k.Name+" ") {
					t.Errorf("%s: %s %s %q %.20s", id, k.ID, k.Name, scopes, k.Metadata)
					return
				}
			}
		})
	}
	for version := range rounds {
		for n := range keys {
			switch (n + version) % 5 {
			case 0:
				x.Set(made(n, version), nil, true) // there or not
			default:
				x.Set(made(n, version), nil, false)
			}
			if n%3 == 0 {
				x.Settle()
			}
		}
	}
	done.Store(true)
	wg.Wait()
	if w := x.Waste(); w.Had > 4*keytable.ChunkSize {
		t.Errorf("%+v", w)
	}
}

// What holds the place of a key that is gone notes nothing for the next that has it.
func TestPlacesAreOfOneKey(t *testing.T) {
	x, now := keytable.New(), time.Unix(1_800_000_000, 0)
	var rooms [2]record.KeyRoom
	for i := range rooms {
		k := &record.APIKey{ID: fmt.Sprint("key_", i), Hash: record.KeyHash{byte(i + 1)}}
		x.Set(k, nil, false)
		x.Find(k.Hash, &rooms[i])
		if i == 0 {
			x.Set(k, nil, true)
			x.Settle()
		}
	}
	if rooms[0].Key.Uses.Note(now); len(x.Used(10)) > 0 {
		t.Error("noted for another")
	}
	if rooms[1].Key.Uses.Note(now); len(x.Used(10)) != 1 {
		t.Error("not noted")
	}
	rooms[0].Key.Uses.Tell(record.MinuteOf(now))
	if used := x.Used(10); len(used) != 1 || used[0].ID != "key_1" || x.Waste().Places != 1 {
		t.Errorf("%+v", used)
	}
}

// Y7: also by a hash that it is leaving a key has nothing of another's.
func TestLeavingKeysKeepTheirOwn(t *testing.T) {
	x, hash := keytable.New(), func(n byte) record.KeyHash { return record.KeyHash{n} }
	was := &record.APIKey{ID: "key_1", Hash: hash(1), Scopes: []string{"a"}}
	k := &record.APIKey{ID: "key_1", Hash: hash(2), Scopes: []string{"a"}}
	x.Set(was, nil, false)
	x.Rehash(k, was)
	x.Set(k, nil, true)
	other := &record.APIKey{ID: "key_2", Hash: hash(3), Scopes: []string{"b"}}
	x.Set(other, nil, false)
	var room record.KeyRoom
	if k, ok := x.Stored(hash(1), &room); ok && (k.ID != "key_1" || k.Scopes[0] != "a") {
		t.Errorf("%+v", k)
	}
	k.Uses = room.Key.Uses
	k.Uses.Note(time.Unix(1_800_000_000, 0))
	if used := x.Used(10); len(used) > 0 {
		t.Errorf("%+v", used)
	}
	x.Settle()
	if _, ok := x.Stored(hash(1), &room); ok {
		t.Error("found by the hash that it left")
	}
}

// Y11
func TestGivenRecordIsNotKept(t *testing.T) {
	x, given, room := keytable.New(), new(record.KeyRoom), new(record.KeyRoom)
	of := func(i int) record.APIKey {
		id := fmt.Sprint("key_", i)
		given.Limits, given.Rotating, given.Leak = limit.Limits{Burst: uint32(i)}, record.Rotating{Hash: sumOf("old " + id), Hint: id}, record.Leak{By: id}
		return record.APIKey{
			ID: id, Consumer: id, Hash: sumOf(id), Scopes: []string{id}, Roles: []record.Role{record.Role(id)}, Metadata: json.RawMessage(`"` + id + `"`),
			Limits: &given.Limits, Rotating: &given.Rotating, Leak: &given.Leak,
		}
	}
	for i := range 3 {
		given.Key = of(i)
		x.Fill(&given.Key)
	}
	x.Settle()
	for i := range 3 {
		want := of(i)
		got, _, ok := x.Find(want.Hash, room)
		if !ok {
			t.Fatalf("%s is not found", want.ID)
		}
		if diff := cmp.Diff(&want, shown(got), chains); diff != "" {
			t.Error(diff)
		}
	}
}

// Y12
func TestFilledIsFound(t *testing.T) {
	x, room := keytable.New(), new(record.KeyRoom)
	const n = 20_000
	of := func(i int) record.APIKey {
		k := record.APIKey{ID: fmt.Sprint("key_", i), Hash: sumOf(fmt.Sprint(i))}
		if i%3 == 0 {
			k.Rotating = &record.Rotating{Hash: sumOf(fmt.Sprint("old ", i))}
		}
		return k
	}
	for i := range n {
		k := of(i)
		x.Fill(&k)
	}
	x.Settle()
	hashes := 0
	for i := range n {
		want := of(i)
		for _, h := range []record.KeyHash{want.Hash, sumOf(fmt.Sprint("old ", i))} {
			got, _, ok := x.Find(h, room)
			if ok != (h == want.Hash || want.Rotating != nil) || ok && cmp.Diff(&want, shown(got), chains) != "" {
				t.Fatalf("%d: %t, %+v", i, ok, got)
			}
			if ok {
				hashes++
			}
		}
	}
	if w := x.Waste(); x.Size() != hashes || w.Slots > 2*hashes+16*256 {
		t.Errorf("%d hashes, counted %d: %+v", hashes, x.Size(), w)
	}
	for i := range n {
		k := of(i)
		x.Set(&k, nil, true)
	}
	if x.Settle(); x.Size() != 0 {
		t.Errorf("%d are left", x.Size())
	}
}
