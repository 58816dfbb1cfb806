package machine_test

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"veto/record"
	"veto/replication/machine"
)

func imported(key string, first uint64, values ...string) record.Command {
	b := record.Import{First: first, Alike: []record.Revocation{revocation(record.TargetJTI, ""), revocation(record.TargetSubject, ""), {Name: record.Name{Target: record.TargetJTI, Issuer: "https://nobody.example"}}}}
	for n, v := range values {
		b.Items = append(b.Items, record.ImportItem{Alike: n % 2, Value: v})
	}
	return record.Command{Stamp: stamp, By: "key_a", Request: record.Request{Key: key}, Body: b}
}

// M5
func TestImportGoesOnWhereItWas(t *testing.T) {
	s, rev := founded(t)
	first := applyCommand(t, s, rev, imported("k", 1, "a", "b", "", "d"))
	if first.Rejection != nil || len(first.Refused) != 1 || first.Refused[0].Number != 3 || first.Before != 0 {
		t.Fatalf("%+v", first)
	}
	d := record.DigestKey{1}.Digest(revocation(record.TargetJTI, "a").Name)
	if r := apply(t, s, rev, stamp, record.Lift{Digest: d, Reason: "a mistake"}); r.Rejection != nil {
		t.Fatal(r.Rejection)
	}
	again := applyCommand(t, s, rev, imported("k", 1, "a", "b", "", "d", "e"))
	if again.Rejection != nil || again.Before != 4 || len(again.Refused) != 0 {
		t.Errorf("%+v", again)
	}
	want := []string{"subject b", "subject d", "jti e"}
	if got := revoked(t, s); !slices.Equal(got, want) {
		t.Errorf("%v, want %v: what was lifted must not come back, and what is new must be there", got, want)
	}
	day := 24 * time.Hour
	late := imported("k", 6, "f")
	late.Stamp = stamp.Add(day)
	if r := applyCommand(t, s, rev, late); r.Before != 5 {
		t.Errorf("a day later the stream is not known: %+v", r)
	}
	if r := applyCommand(t, s, rev, imported("other", 1, "g")); r.Before != 0 {
		t.Errorf("another stream: %+v", r)
	}
}

// M5
func TestImportTriesAgainWhatWasRefused(t *testing.T) {
	s, rev := founded(t)
	if r := apply(t, s, rev, stamp, record.RaiseLevel{To: record.LevelTrail}); r.Rejection != nil {
		t.Fatal(r.Rejection)
	}
	if r := applyCommand(t, s, rev, imported("k", 1, "a", "", "c", "")); len(r.Refused) != 2 || r.Missing != nil {
		t.Fatalf("%+v", r)
	}
	if r := applyCommand(t, s, rev, imported("k", 5, "e", "")); len(r.Refused) != 1 {
		t.Fatalf("%+v", r)
	}
	d := record.DigestKey{1}.Digest(revocation(record.TargetJTI, "a").Name)
	if r := apply(t, s, rev, stamp, record.Lift{Digest: d, Reason: "a mistake"}); r.Rejection != nil {
		t.Fatal(r.Rejection)
	}
	r := applyCommand(t, s, rev, imported("k", 1, "a", "b now", "c", "", "e"))
	if r.Before != 6 || !slices.Equal(r.Missing, []uint64{2, 4, 6}) || len(r.Refused) != 1 || r.Refused[0].Number != 4 {
		t.Errorf("%+v", r)
	}
	r = applyCommand(t, s, rev, imported("k", 1, "a", "x", "c", "", "e", "", "g"))
	if r.Before != 6 || !slices.Equal(r.Missing, []uint64{4, 6}) || len(r.Refused) != 2 {
		t.Errorf("%+v", r)
	}
	want := []string{"subject b now", "jti c", "jti e", "jti g"}
	if got := revoked(t, s); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	wrong := make([]string, record.MaxImport)
	for first := uint64(1); first <= record.MaxMissing+10; first += record.MaxImport {
		applyCommand(t, s, rev, imported("wrong", first, wrong...))
	}
	applyCommand(t, s, rev, imported("wrong", 1, slices.Repeat([]string{"right"}, record.MaxImport)...))
	if r := applyCommand(t, s, rev, imported("wrong", 1, "a")); len(r.Missing) <= record.MaxMissing {
		t.Errorf("%d are missing, though not all are known", len(r.Missing))
	}
}

// M5
func TestImportHasNoGaps(t *testing.T) {
	s, rev := founded(t)
	apart := imported("k", 2, "b")
	before := maps.Clone(s)
	if r := applyCommand(t, s, rev, apart); r.Rejection == nil || r.Rejection.Reason != record.ReasonGap || !maps.Equal(before, s) {
		t.Errorf("%+v", r)
	}
	applyCommand(t, s, rev, imported("k", 1, "a"))
	if r := applyCommand(t, s, rev, apart); r.Rejection != nil || !slices.Equal(revoked(t, s), []string{"jti a", "jti b"}) {
		t.Errorf("%+v, %v", r, revoked(t, s))
	}
}

// M5
func TestPartsOfAnotherStreamAreRefused(t *testing.T) {
	// summed is a part with the sums of its own lines after those before, one byte for each line.
	summed := func(first uint64, before string, values ...string) record.Command {
		c := imported("k", first, values...)
		b := c.Body.(record.Import)
		for n, sum := 0, []byte("\x00\x00\x00\x00"+before); n <= len(values); n++ {
			b.Sums = append(b.Sums, sum[len(sum)-record.SumLength:]...)
			if n < len(values) {
				sum = append(sum, values[n]...)
			}
		}
		c.Body = b
		return c
	}
	for name, c := range map[string]struct {
		part    record.Command
		refused bool
	}{
		"the same":                     {summed(1, "", "a", "b", "c"), false},
		"the same, and more":           {summed(1, "", "a", "b", "c", "d"), false},
		"what follows":                 {summed(4, "abc", "d"), false},
		"its beginning":                {summed(1, "", "a", "b"), false},
		"without sums, as in old logs": {imported("k", 1, "a", "b", "c", "d"), false},
		"another":                      {summed(1, "", "x", "y", "z"), true},
		"another that goes on":         {summed(1, "", "x", "y", "z", "d"), true},
		"another's end":                {summed(4, "xyz", "d"), true},
		"another's end, that overlaps": {summed(3, "ab", "x", "d"), true},
	} {
		s, rev := founded(t)
		if r := applyCommand(t, s, rev, summed(1, "", "a", "b", "c")); r.Rejection != nil {
			t.Fatal(r.Rejection)
		}
		before := maps.Clone(s)
		r := applyCommand(t, s, rev, c.part)
		if refused := r.Rejection != nil && r.Rejection.Reason == record.ReasonConflict; refused != c.refused || refused && !maps.Equal(before, s) {
			t.Errorf("%s: %+v", name, r)
		}
	}
	s, rev := founded(t)
	c := summed(1, "", "a", "b")
	b := c.Body.(record.Import)
	b.Sums = b.Sums[:9]
	c.Body = b
	if r := applyCommand(t, s, rev, c); r.Rejection == nil {
		t.Error("a part with half a sum was taken")
	}
}

func TestRefusedImport(t *testing.T) {
	s, rev := founded(t)
	c := imported("k", 1, "a")
	c.Body = record.Import{First: 1, Alike: c.Body.(record.Import).Alike, Items: []record.ImportItem{{Alike: 2, Value: "x"}, {Alike: 9, Value: "y"}, {Alike: 0, Value: "z"}}}
	r := applyCommand(t, s, rev, c)
	if len(r.Refused) != 2 || r.Refused[0].Rejection.Reason != record.ReasonNotFound || !slices.Equal(revoked(t, s), []string{"jti z"}) {
		t.Errorf("%+v, %v", r, revoked(t, s))
	}
	// What has no byte form is refused, and stops no node.
	late := revocation(record.TargetJTI, "")
	late.Expiry = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	c.Body = record.Import{First: 4, Alike: []record.Revocation{late}, Items: []record.ImportItem{{Value: "late"}}}
	if r := applyCommand(t, s, rev, c); len(r.Refused) != 1 || r.Rejection != nil {
		t.Errorf("%+v", r)
	}
	for name, c := range map[string]record.Command{
		"no key":   {Stamp: stamp, Body: c.Body},
		"no items": {Stamp: stamp, Request: record.Request{Key: "k"}, Body: record.Import{First: 1}},
		"number 0": {Stamp: stamp, Request: record.Request{Key: "k"}, Body: record.Import{Items: []record.ImportItem{{}}}},
	} {
		if r := applyCommand(t, s, rev, c); r.Rejection == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// revoked are the names of all revocations, in the order of the values.
func revoked(t *testing.T, s state) []string {
	t.Helper()
	all := stored(t, s)
	slices.SortFunc(all, func(a, b record.Revocation) int { return int(a.Value[0]) - int(b.Value[0]) })
	var names []string
	for _, r := range all {
		names = append(names, fmt.Sprintf("%s %s", r.Target, r.Value))
	}
	return names
}

// stored are all revocations of the state, as they are read.
func stored(t *testing.T, s state) (all []record.Revocation) {
	t.Helper()
	from := record.TableRevocations.Key()
	err := s.Scan(from, record.KeyAfter(from), func(k, v []byte) (bool, error) {
		r, ok, err := record.StoredRevocation(k, v, s.Get)
		if !ok {
			t.Errorf("the revocation %x cannot be read", k)
		}
		all = append(all, r)
		return err == nil, err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// weigh counts the records of a table, and the bytes of their values.
func weigh(t *testing.T, s state, table record.Table) (records, bytes int) {
	t.Helper()
	err := s.Scan(table.Key(), record.KeyAfter(table.Key()), func(_, v []byte) (bool, error) {
		records, bytes = records+1, bytes+len(v)
		return true, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return records, bytes
}

// M21
func TestWhatIsAlikeIsKeptOnce(t *testing.T) {
	values := make([]string, 40)
	for n := range values {
		values[n] = fmt.Sprintf("value %d", n)
	}
	var states []state
	for _, level := range []record.Level{record.LevelKeys, record.LevelTrail} {
		s, rev := founded(t)
		apply(t, s, rev, stamp, record.RaiseLevel{To: level})
		for n, part := range [][]string{values, values[:4]} {
			*rev = record.Revision(100 * (n + 1))
			if r := applyCommand(t, s, rev, imported(fmt.Sprint(n), 1, part...)); r.Rejection != nil || len(r.Refused) > 0 {
				t.Fatalf("%+v", r)
			}
		}
		gone := revocation(record.TargetSubject, "value 39")
		digest := record.DigestKey{1}.Digest(gone.Name)
		result, changes, err := machine.Apply(s, record.Command{Stamp: stamp, Body: record.Lift{Digest: digest, Reason: "why"}}, 1000)
		if err != nil || result.Rejection != nil || len(changes) != 1 || changes[0].Record.(*record.Revocation).Value != gone.Value || changes[0].Digest != digest {
			t.Fatalf("%+v, %+v, %v", result, changes, err)
		}
		states = append(states, s)
	}
	whole, short := states[0], states[1]
	if got, want := stored(t, short), stored(t, whole); !reflect.DeepEqual(got, want) || len(want) != 39 {
		t.Errorf("%+v, want %+v", got, want)
	}
	if n, _ := weigh(t, whole, record.TableAlike); n != 0 {
		t.Error("older nodes could not read this")
	}
	_, before := weigh(t, whole, record.TableRevocations)
	kinds, shared := weigh(t, short, record.TableAlike)
	if _, after := weigh(t, short, record.TableRevocations); kinds != 1 || (after+shared)*4 > before*3 {
		t.Errorf("%d kinds, and %d bytes and %d instead of %d", kinds, shared, after, before)
	}
	rev := record.Revision(2000)
	apply(t, short, &rev, stamp, record.Expire{Before: record.Forever - 1})
	if kinds, _ := weigh(t, short, record.TableAlike); kinds != 0 {
		t.Errorf("%d kinds are left when what is of them has expired", kinds)
	}
	for _, r := range stored(t, short) {
		if r.Target != record.TargetSubject {
			t.Errorf("%+v", r)
		}
	}
}

// M5: while there may be a node that takes smaller parts only, all do.
func TestPartsGrowWithTheLevel(t *testing.T) {
	s, rev := founded(t)
	values := make([]string, record.MaxImport+1)
	for i := range values {
		values[i] = fmt.Sprint("v", i)
	}
	small := record.MaxImportAt(record.LevelFirst)
	for _, step := range []struct {
		level record.Level
		lines int
		taken bool
	}{
		{record.LevelKeys, small + 1, false},
		{record.LevelKeys, small, true},
		{record.LevelTrail, record.MaxImport + 1, false},
		{record.LevelTrail, record.MaxImport, true},
	} {
		if at, err := machine.Level(s); err != nil || at < step.level {
			if r := apply(t, s, rev, stamp, record.RaiseLevel{To: step.level}); err != nil || r.Rejection != nil {
				t.Fatal(err, r.Rejection)
			}
		}
		c := imported(fmt.Sprint("k", step), 1, values[:step.lines]...)
		if r := applyCommand(t, s, rev, c); (r.Rejection == nil) != step.taken {
			t.Errorf("%d lines at level %d: %+v", step.lines, step.level, r.Rejection)
		}
	}
}

// M5: what is revoked twice in one part is kept as the later says, whatever the order of their kinds and of their digests.
func TestLaterOfAPartCounts(t *testing.T) {
	for _, first := range []int{0, 1} {
		s, rev := founded(t)
		b := record.Import{First: 1, Alike: []record.Revocation{revocation(record.TargetJTI, ""), revocation(record.TargetJTI, "")}}
		b.Alike[0].Reason, b.Alike[1].Reason = "zero", "one"
		for _, kind := range []int{first, 1 - first} {
			for n := range 300 {
				b.Items = append(b.Items, record.ImportItem{Alike: kind, Value: fmt.Sprint("value ", n)})
			}
		}
		applyCommand(t, s, rev, record.Command{Stamp: stamp, By: "key_a", Request: record.Request{Key: "k"}, Body: b})
		all := stored(t, s)
		if len(all) != 300 {
			t.Errorf("%d are kept", len(all))
		}
		for _, r := range all {
			if r.Reason != b.Alike[1-first].Reason {
				t.Fatalf("%s of kind %s, and kind %d came first", r.Value, r.Reason, first)
			}
		}
	}
}
