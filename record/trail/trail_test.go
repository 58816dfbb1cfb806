package trail_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"veto/record"
	"veto/record/trail"
)

var at = time.Unix(1_800_000_000, 0).UTC()

// chained is a trail with n entries, and its head; before of them are from before the chain.
func chained(t testing.TB, before, n int) ([]trail.Entry, trail.Head) {
	t.Helper()
	var all []trail.Entry
	var head trail.Head
	for i := range before + n {
		e := trail.Entry{
			Revision: record.Revision(i/2 + 1), Number: uint16(i % 2), At: at.Add(time.Duration(i) * time.Second), By: "key_a", ByName: "<first> & \u2028",
			Action: "revoke", Refs: []string{fmt.Sprintf("rev_%d", i)}, Kinds: []string{"revocation"},
			From: record.Origin{Node: "n1", Way: record.WayHTTP, Address: "192.0.2.1"},
		}
		if i%3 == 0 {
			e.By, e.ByName, e.Changes = "", "", []trail.Change{{Of: "one", Field: "leeway", From: "1m0s", To: "2m0s"}}
		}
		if i >= before {
			b, err := head.Next(&e)
			if err != nil {
				t.Fatal(err)
			}
			if again, err := record.Encode(e); err != nil || !bytes.Equal(again, b) {
				t.Fatalf("%v\n%x\n%x", err, b, again)
			}
		}
		all = append(all, e)
	}
	return all, head
}

func exported(t testing.TB, all []trail.Entry, head trail.Head, f trail.Filter) string {
	t.Helper()
	return exportedFrom(t, &source{all: all, head: head}, f)
}

// source has entries, and those from before its anchor no more.
type source struct {
	all          []trail.Entry
	anchor, head trail.Head
	cut          func() // called when entries are read
}

func (s *source) AuditAnchor() (trail.Head, error) { return s.anchor, nil }
func (s *source) AuditHead() (trail.Head, error)   { return s.head, nil }

func (s *source) Audit(after trail.Entry, limit int) ([]trail.Entry, error) {
	if s.cut != nil {
		s.cut()
	}
	from := 0
	if after.Action != "" {
		from = 1 + slices.IndexFunc(s.all, func(e trail.Entry) bool { return e.Revision == after.Revision && e.Number == after.Number })
	}
	return s.all[from:min(len(s.all), from+limit)], nil
}

func exportedFrom(t testing.TB, s *source, f trail.Filter) string {
	t.Helper()
	var out bytes.Buffer
	if err := trail.Write(&out, "c", f, s); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// cutAt is the trail without its first entries, as its last one says.
func cutAt(t testing.TB, n, first int) (s *source, before []trail.Entry) {
	t.Helper()
	all, head := chained(t, 0, n)
	a := all[first-1]
	anchor := trail.Head{Revision: a.Revision, Number: a.Number, Sequence: a.Sequence, Hash: a.Hash, Began: 1}
	e := trail.Entry{Revision: head.Revision + 1, At: at, Action: trail.ActionCut, Refs: []string{anchor.String()}, From: record.Origin{Way: record.WayCluster}}
	if _, err := head.Next(&e); err != nil {
		t.Fatal(err)
	}
	return &source{all: append(all[first:], e), anchor: anchor, head: head}, all[:first]
}

// T4
func TestTrailThatWasCut(t *testing.T) {
	s, before := cutAt(t, 9, 4)
	export := exportedFrom(t, s, trail.Filter{})
	r, err := trail.Verify(strings.NewReader(export), s.head, s.anchor)
	if err != nil || r.Entries != 6 || r.Removed != 4 || r.After != s.anchor.String() || r.Began != s.all[0].Revision || r.Head != s.head.String() {
		t.Errorf("%+v %v", r, err)
	}
	old := trail.Head{Revision: before[1].Revision, Number: before[1].Number, Hash: before[1].Hash}
	if b := broken(t, export, old); !strings.Contains(b.Why, "cannot be told any more") {
		t.Error(b)
	}
	other := s.anchor
	other.Hash[0]++
	broken(t, export, other)
	// Nobody can take more away, or give another beginning.
	more := *s
	a := more.all[0]
	more.anchor = trail.Head{Revision: a.Revision, Number: a.Number, Sequence: a.Sequence, Hash: a.Hash, Began: 1}
	more.all = more.all[1:]
	if b := broken(t, exportedFrom(t, &more, trail.Filter{})); !strings.Contains(b.Why, "no entry of it says that it was cut there") {
		t.Error(b)
	}
	forged := *s
	forged.anchor.Hash[0]++
	broken(t, exportedFrom(t, &forged, trail.Filter{}))
	none := *s
	none.anchor = trail.Head{}
	if b := broken(t, exportedFrom(t, &none, trail.Filter{})); !strings.Contains(b.Why, "the first 4 are missing") {
		t.Error(b)
	}
	whole := *s
	whole.all, whole.anchor = append(slices.Clone(before), s.all...), trail.Head{}
	if r, err := trail.Verify(strings.NewReader(exportedFrom(t, &whole, trail.Filter{})), old, s.head); err != nil || r.Entries != 10 || r.After != "" {
		t.Errorf("%+v %v", r, err)
	}
}

// T4: who exports while older entries are removed gets nothing, and not a trail that looks broken.
func TestCutWhileItIsExported(t *testing.T) {
	s, before := cutAt(t, 9, 4)
	anchor := s.anchor
	s.anchor, s.all = trail.Head{}, append(slices.Clone(before), s.all...)
	s.cut = func() { s.anchor, s.all = anchor, s.all[4:] }
	var out bytes.Buffer
	if err := trail.Write(&out, "c", trail.Filter{}, s); err == nil || out.Len() > 0 {
		t.Errorf("%v: %s", err, out.String())
	}
}

func broken(t testing.TB, export string, heads ...trail.Head) *trail.Broken {
	t.Helper()
	var b *trail.Broken
	if _, err := trail.Verify(strings.NewReader(export), heads...); !errors.As(err, &b) {
		t.Fatalf("%v; it was not found to be broken:\n%.2000s", err, export)
	}
	return b
}

// T1
func TestWholeTrail(t *testing.T) {
	for _, n := range []int{1, 2, 999, 1000, 1001, 2500} {
		all, head := chained(t, 0, n)
		r, err := trail.Verify(strings.NewReader(exported(t, all, head, trail.Filter{})), head)
		if err != nil || r.Entries != uint64(n) || r.Head != head.String() || r.Cluster != "c" || r.Began != 1 {
			t.Errorf("%d: %+v %v", n, r, err)
		}
	}
	// What came after the head was read is left out.
	all, _ := chained(t, 0, 9)
	_, head := chained(t, 0, 5)
	if r, err := trail.Verify(strings.NewReader(exported(t, all, head, trail.Filter{}))); err != nil || r.Entries != 5 {
		t.Errorf("%+v %v", r, err)
	}
	if again, err := trail.ParseHead(head.String()); err != nil || again.Hash != head.Hash || again.Revision != head.Revision {
		t.Errorf("%v %v", again, err)
	}
}

// T1: whatever is done to the lines of an export is found, and named is the first that is wrong.
func TestAnyAlterationIsFound(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(3, 30).Draw(rt, "entries")
		all, head := chained(t, 0, n)
		lines := strings.Split(strings.TrimSuffix(exported(t, all, head, trail.Filter{}), "\n"), "\n")
		i := rapid.IntRange(1, n-1).Draw(rt, "line") // not the last: that is TestCutOffIsFound
		first := i + 1
		switch rapid.IntRange(0, 4).Draw(rt, "what") {
		case 0: // a bit of any byte
			b := []byte(lines[i])
			b[rapid.IntRange(0, len(b)-1).Draw(rt, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(rt, "bit")
			lines = slices.Concat(lines[:i], []string{string(b)}, lines[i+1:])
			if bytes.IndexByte(b, '\n') >= 0 {
				first = 0
			}
		case 1:
			lines = slices.Delete(lines, i, i+1)
		case 2:
			j := rapid.IntRange(i+1, n).Draw(rt, "other")
			lines[i], lines[j] = lines[j], lines[i]
		case 3: // again
			lines = slices.Insert(lines, i, lines[rapid.IntRange(1, n).Draw(rt, "source")])
			first = 0
		case 4: // one that hashes itself, in the place of another: the next does not follow
			e := all[i-1]
			e.By = "key_b"
			before := trail.Head{}
			if i > 1 {
				before = trail.Head{Sequence: uint64(i - 1), Hash: all[i-2].Hash}
			}
			if _, err := before.Next(&e); err != nil {
				rt.Fatal(err)
			}
			one := exported(t, []trail.Entry{e}, trail.Head{}, trail.Filter{})
			lines[i] = strings.Split(one, "\n")[1]
			first = i + 2
		}
		b := broken(t, strings.Join(lines, "\n")+"\n", head)
		if first > 0 && b.Line != first {
			rt.Fatalf("line %d was told in place of %d: %v", b.Line, first, b)
		}
	})
}

// T1
func TestCutOffIsFound(t *testing.T) {
	all, head := chained(t, 0, 9)
	export := exported(t, all, head, trail.Filter{})
	cut := export[:strings.LastIndex(strings.TrimSuffix(export, "\n"), "\n")+1]
	if b := broken(t, cut); !strings.Contains(b.Why, "cut off") {
		t.Error(b)
	}
	// The first line can be made anew, what was written down cannot.
	_, shorter := chained(t, 0, 8)
	honest := exported(t, all[:8], shorter, trail.Filter{})
	if _, err := trail.Verify(strings.NewReader(honest)); err != nil {
		t.Fatal(err)
	}
	if b := broken(t, honest, head); !strings.Contains(b.Error(), "cut off") && !strings.Contains(b.Error(), "does not hold") {
		t.Error(b)
	}
	// All of it made anew.
	for i := range all {
		all[i].By = "key_b"
	}
	var forged trail.Head
	for i := range all {
		if _, err := forged.Next(&all[i]); err != nil {
			t.Fatal(err)
		}
	}
	if b := broken(t, exported(t, all, forged, trail.Filter{}), head); !strings.Contains(b.Error(), "does not hold the head") {
		t.Error(b)
	}
	// The beginning cut off.
	all, head = chained(t, 0, 9)
	if b := broken(t, exported(t, all[3:], head, trail.Filter{}), head); !strings.Contains(b.Error(), "the first 3 are missing") {
		t.Error(b)
	}
}

// T2
func TestLinesAreStrict(t *testing.T) {
	all, head := chained(t, 0, 3)
	export := exported(t, all, head, trail.Filter{})
	for name, change := range map[string]func(string) string{
		"a member twice":  func(s string) string { return strings.Replace(s, `"by":"key_a"`, `"by":"key_b","by":"key_a"`, 1) },
		"another case":    func(s string) string { return strings.Replace(s, `"by":"key_a"`, `"BY":"key_a"`, 1) },
		"one more member": func(s string) string { return strings.Replace(s, `"by":"key_a"`, `"by":"key_a","note":"x"`, 1) },
		"one more space":  func(s string) string { return strings.Replace(s, `"by":"key_a"`, `"by": "key_a"`, 1) },
		"an empty line":   func(s string) string { return strings.Replace(s, "}\n", "}\n\n", 1) },
		"no first line":   func(s string) string { return s[strings.IndexByte(s, '\n')+1:] },
		"nothing":         func(string) string { return "" },
		"a line too long": func(s string) string { return s + `{"revision":9,"reason":"` + strings.Repeat("x", 2<<20) },
	} {
		changed := change(export)
		if changed == export {
			t.Fatalf("%s: nothing was changed", name)
		}
		if _, err := trail.Verify(strings.NewReader(changed), head); err == nil {
			t.Errorf("%s: was not found", name)
		}
	}
}

// T2
func TestChosenPartIsNoChain(t *testing.T) {
	all, head := chained(t, 0, 9)
	for f, want := range map[trail.Filter]int{
		{By: "key_a"}: 6, {By: record.WayCluster}: 3, {By: "<first> & \u2028"}: 6, {By: "key_b"}: 0, {Action: "lift"}: 0, {Ref: "rev_4"}: 1,
		{Since: at.Add(2 * time.Second)}: 7, {Until: at.Add(2 * time.Second)}: 2, {Since: at, Until: at}: 0, {Action: "revoke"}: 9,
	} {
		export := exported(t, all, head, f)
		if got := strings.Count(export, "\n") - 1; got != want {
			t.Errorf("%s: %d entries, want %d", f, got, want)
		}
		if b := broken(t, export); !strings.Contains(b.Why, "cannot be verified as a chain") {
			t.Errorf("%s: %v", f, b)
		}
	}
}

// T3
func TestEntriesFromBefore(t *testing.T) {
	all, head := chained(t, 4, 4)
	r, err := trail.Verify(strings.NewReader(exported(t, all, head, trail.Filter{})), head)
	if err != nil || r.Before != 4 || r.Entries != 4 || r.Began != 3 {
		t.Errorf("%+v %v", r, err)
	}
	// Nor what is put in behind its beginning.
	late := all[3]
	late.Revision = 9
	if b := broken(t, exported(t, append(slices.Clone(all), late), trail.Head{}, trail.Filter{})); b.Entry != "9.1" {
		t.Error(b)
	}
	// What is of the chain cannot be passed off as from before it.
	for n := 5; n <= 8; n++ {
		all, head := chained(t, 4, 4)
		for i := range n {
			all[i].Sequence, all[i].Hash = 0, trail.Hash{}
		}
		broken(t, exported(t, all, head, trail.Filter{}))
		broken(t, exported(t, all, trail.Head{}, trail.Filter{}))
		broken(t, exported(t, all[:n], trail.Head{}, trail.Filter{}))
	}
}

// T1, T2: what verifies with a head that was written down has the lines that it was made of.
func FuzzVerify(f *testing.F) {
	all, head := chained(f, 1, 3)
	good := exported(f, all, head, trail.Filter{})
	chain := good[strings.Index(good, `{"revision":1,"number":1`):]
	f.Add([]byte(good))
	f.Add([]byte(strings.Replace(good, "key_a", "key_b", 1)))
	f.Add([]byte("{\"veto_audit\":1,\"cluster\":\"c\"}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := trail.Verify(bytes.NewReader(b), head); err == nil && !bytes.Contains(append(b, '\n'), []byte(chain)) {
			t.Errorf("%q is verified", b)
		}
	})
}
