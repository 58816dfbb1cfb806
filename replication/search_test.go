package replication

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"veto/record"
)

// manyKeys are enough that a search of them all takes more than one page.
const manyKeys = 2*maxSkipped + 500

// searched is a state with many keys, of which few are found.
type searched struct {
	*parts
	t    *testing.T
	at   uint64
	made int
	keys map[string]record.APIKey
}

func newSearched(t *testing.T) *searched {
	t.Helper()
	s := &searched{parts: newParts(t), t: t, at: 1, keys: map[string]record.APIKey{}}
	s.must(t, founding(t, 1))
	for _, id := range []string{"kiosk", "shop", "till"} {
		s.do(record.PutConsumer{Consumer: record.Consumer{ID: id, Tags: []string{"t"}}})
	}
	s.do(record.PutRole{Role: record.DefinedRole{ID: "reader", Scopes: []string{"orders:*"}}})
	for range manyKeys {
		s.add(s.made%400 == 0, s.made%3 == 0)
	}
	return s
}

func (s *searched) do(b record.Body) {
	s.t.Helper()
	s.at++
	s.must(s.t, entry(s.t, s.at, b))
}

// add makes a key; ids do not come in order, so that some come where a search has been.
func (s *searched) add(reads, ofShop bool) {
	s.made++
	k := record.APIKey{
		ID: fmt.Sprintf("key_%04x%06d", s.made*40503%65536, s.made), Consumer: "kiosk", Hash: record.KeyHash{5, byte(s.made), byte(s.made >> 8), byte(s.made >> 16)},
		Name: fmt.Sprintf("Key %d", s.made),
	}
	if reads {
		k.Roles = []record.Role{"reader"}
	}
	if ofShop {
		k.Consumer = "shop"
	}
	s.do(record.CreateKey{Key: k})
	s.keys[k.ID] = k
}

func (s *searched) finds(q record.KeyQuery, k record.APIKey) bool {
	return (q.Consumer == "" || k.Consumer == q.Consumer) && (q.Role == "" && q.Scope == "" || len(k.Roles) > 0) && strings.Contains(strings.ToLower(k.Name), q.Text)
}

// S1: a cursor goes through all that is found exactly once, while keys are made and deleted.
func TestSearchIsWhole(t *testing.T) {
	s := newSearched(t)
	queries := []record.KeyQuery{
		{Role: "reader"}, {Scope: "orders:read"}, {Consumer: "shop", Role: "reader"}, {Consumer: "shop"}, {State: record.KeyActive, Scope: "orders:x"}, {Text: "key 7"},
	}
	rapid.Check(t, func(rt *rapid.T) {
		q := queries[rapid.IntRange(0, len(queries)-1).Draw(rt, "query")]
		limit := rapid.SampledFrom([]int{1, 3, 500}).Draw(rt, "limit")
		if q == (record.KeyQuery{Consumer: "shop"}) {
			limit = 500
		}
		throughout, seen := map[string]bool{}, map[string]bool{}
		for id, k := range s.keys {
			throughout[id] = s.finds(q, k)
		}
		for after, pages := "", 0; ; pages++ {
			page, next, err := s.view.Keys(q, time.Unix(1_800_000_000, 0), after, limit)
			if err != nil || len(page) > limit {
				rt.Fatalf("%d found, %v", len(page), err)
			}
			for _, k := range page {
				if _, there := s.keys[k.ID]; seen[k.ID] || !there || !s.finds(q, k) {
					rt.Fatalf("%+v finds %s, seen before: %v", q, k.ID, seen[k.ID])
				}
				seen[k.ID] = true
			}
			if next == "" {
				break
			}
			after = next
			if rapid.IntRange(0, 3).Draw(rt, "change") == 0 && pages < 20 {
				s.add(rapid.Bool().Draw(rt, "reads"), rapid.Bool().Draw(rt, "shop"))
				ids := sortedIDs(s.keys)
				gone := ids[rapid.IntRange(0, len(ids)-1).Draw(rt, "gone")]
				s.do(record.DeleteKey{ID: gone})
				delete(s.keys, gone)
				delete(throughout, gone)
			}
		}
		for id, is := range throughout {
			if is && !seen[id] {
				rt.Fatalf("%+v does not find %s", q, id)
			}
		}
	})
}

func sortedIDs(keys map[string]record.APIKey) []string {
	var ids []string
	for id := range keys {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// S1: one request reads a bounded number of records, whatever it finds, and says where to go on.
func TestSearchIsBounded(t *testing.T) {
	s := newSearched(t)
	for name, q := range map[string]record.KeyQuery{"of all": {Text: "nothing"}, "of a consumer": {Consumer: "kiosk", Text: "nothing"}} {
		read, pages := 0, 0
		for after := ""; ; pages++ {
			page, next, err := s.view.Keys(q, time.Time{}, after, 10)
			if err != nil || len(page) > 0 {
				t.Fatal(page, err)
			}
			for id, k := range s.keys {
				if id > after && (next == "" || id <= next) && (q.Consumer == "" || k.Consumer == q.Consumer) {
					read++
				}
			}
			if read > (pages+1)*maxSkipped {
				t.Errorf("%s: %d records in %d pages", name, read, pages+1)
			}
			if after = next; after == "" {
				break
			}
		}
		if pages == 0 {
			t.Errorf("%s: all was read at once", name)
		}
	}
	no := true
	if page, next, err := s.view.Consumers(record.ConsumerQuery{Disabled: &no}, "", 10); len(page) > 0 || next != "" || err != nil {
		t.Error(page, next, err)
	}
	page, next, err := s.view.Consumers(record.ConsumerQuery{Tags: []string{"t"}}, "", 2)
	if err != nil || len(page) != 2 || next != "shop" {
		t.Error(page, next, err)
	}
	if page, next, err = s.view.Consumers(record.ConsumerQuery{Text: "ILL"}, next, 2); err != nil || len(page) != 1 || next != "" {
		t.Error(page, next, err)
	}
}

// S1: what is revoked, by its own name or its consumer's, is found so, and is not active.
func TestSearchByState(t *testing.T) {
	p := newParts(t)
	p.must(t, founding(t, 1), entry(t, 2, record.PutConsumer{Consumer: record.Consumer{ID: "shop"}}), entry(t, 3, record.PutConsumer{Consumer: record.Consumer{ID: "till"}}))
	for n, consumer := range []string{"shop", "shop", "till"} {
		p.must(t, entry(t, uint64(4+n), record.CreateKey{Key: record.APIKey{ID: fmt.Sprintf("key_%d", n), Consumer: consumer, Hash: record.KeyHash{6, byte(n)}}}))
	}
	p.must(t, entry(t, 7, record.Revoke{Revocations: []record.Revocation{
		{Name: record.Name{Target: record.TargetKey, Value: "key_0"}}, {Name: record.Name{Target: record.TargetConsumer, Value: "till"}},
	}}))
	for state, want := range map[record.KeyState][]string{record.KeyRevoked: {"key_0", "key_2"}, record.KeyActive: {"key_1"}} {
		page, _, err := p.view.Keys(record.KeyQuery{State: state}, time.Unix(1_800_000_000, 0), "", 10)
		var ids []string
		for _, k := range page {
			if k.Consumer != "" {
				ids = append(ids, k.ID)
			}
		}
		if err != nil || !slices.Equal(ids, want) {
			t.Errorf("%s: %v %v, want %v", state, ids, err, want)
		}
	}
}
