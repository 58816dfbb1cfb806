package bulk_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"veto/node/httpapi"
	"veto/node/httpapi/bulk"
	"veto/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cluster takes streams in, and fails when it is told to.
type cluster struct {
	mu       sync.Mutex
	gaps     int           // parts that overtook another
	overtake chan struct{} // if not nil, the first proposal waits for it, until another has come before it
	through  uint64
	sum      []byte // of all lines through that one
	missing  []uint64
	known    map[string]bool // what is not refused any more
	values   []string
	sizes    []int
	revision record.Revision
	changed  record.Revision // of the last line that was done
	failAt   int             // which proposal fails, counted from 1
	lost     bool
	count    int
}

var errLost = &record.Unavailable{Detail: "no leader"}

func (c *cluster) propose(_ context.Context, b record.Import) (record.Result, error) {
	if c.overtake != nil && b.First == 1 {
		<-c.overtake
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if b.First > c.through+1 {
		if c.gaps++; c.overtake != nil && c.gaps == 1 {
			close(c.overtake)
		}
		return record.Result{}, &record.Rejection{Reason: record.ReasonGap}
	}
	if sum, ok := b.Sum(c.through); ok && c.through > 0 && !bytes.Equal(sum, c.sum) {
		return record.Result{}, record.Conflict("other lines")
	}
	c.count++
	if c.count == c.failAt && !c.lost {
		return record.Result{}, errLost
	}
	if c.overtake != nil && b.First > 1 && c.count == 1 {
		defer close(c.overtake)
	}
	c.revision++
	r := record.Result{Revision: c.revision, Before: c.through, Missing: c.missing}
	c.sizes = append(c.sizes, len(b.Items))
	c.missing = slices.DeleteFunc(slices.Clone(c.missing), func(m uint64) bool { return b.First <= m && m < b.First+uint64(len(b.Items)) })
	for n, item := range b.Items {
		number := b.First + uint64(n)
		if number <= r.Before && !r.Misses(number) {
			continue
		}
		c.changed = c.revision
		c.through = max(c.through, number)
		if item.Alike < 0 || strings.HasPrefix(item.Value, "unknown") && !c.known[item.Value] {
			c.missing = append(c.missing, number)
			slices.Sort(c.missing)
			r.Refused = append(r.Refused, record.Refusal{Number: number, Rejection: *record.NotFound("nobody knows it")})
			continue
		}
		c.values = append(c.values, b.Alike[item.Alike].Reason+item.Value)
	}
	if sum, ok := b.Sum(c.through); ok {
		c.sum = slices.Clone(sum)
	}
	if c.count == c.failAt {
		return record.Result{}, record.ErrOutcomeUnknown
	}
	return r, nil
}

func most() int { return record.MaxImport }

// named takes "reason value".
func named(line []byte) (record.Revocation, error) {
	reason, value, ok := strings.Cut(string(line), " ")
	if !ok {
		return record.Revocation{}, record.Invalid("not a line")
	}
	return record.Revocation{Name: record.Name{Target: record.TargetJTI, Issuer: "i", Value: value}, Reason: reason}, nil
}

// turn knows whether it is held.
type turn struct{ held atomic.Bool }

func (t *turn) Share(ctx context.Context) error {
	t.held.Store(true)
	return ctx.Err()
}

func (t *turn) Leave() { t.held.Store(false) }

func run(t testing.TB, c *cluster, in io.Reader) []bulk.Progress {
	t.Helper()
	var out bytes.Buffer
	x := bulk.Importer{Most: most, Named: named, Propose: c.propose, Turn: new(turn), Stop: func() {}}
	if err := x.Import(t.Context(), in, &out); err != nil {
		t.Fatal(err)
	}
	return progress(t, &out)
}

func progress(t testing.TB, out io.Reader) []bulk.Progress {
	t.Helper()
	var all []bulk.Progress
	for d := json.NewDecoder(out); ; {
		var p bulk.Progress
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func stream(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "r%d v%d\n", i%3, i)
	}
	return b.String()
}

// B1
func TestEachLineIsTold(t *testing.T) {
	c := &cluster{}
	all := run(t, c, strings.NewReader(stream(10_000)+"bad\n\nr unknown\nr last"))
	refused := map[uint64]string{}
	for _, p := range all {
		if p.Line > 0 {
			refused[p.Line] = p.Code
		}
	}
	if len(refused) != 3 || refused[10_001] != "invalid" || refused[10_002] != "invalid" || refused[10_003] != "not_found" {
		t.Errorf("refused: %v", refused)
	}
	if last := all[len(all)-1]; !last.Done || last.Through != 10_004 || last.Refused != 3 || last.Revision != c.revision || last.Resumed != 0 {
		t.Errorf("%+v", last)
	}
	if len(c.values) != 10_001 || c.values[9_999] != "r0v9999" || c.values[10_000] != "rlast" {
		t.Errorf("%d values", len(c.values))
	}
	for _, n := range c.sizes {
		if n > record.MaxImport {
			t.Errorf("a batch of %d", n)
		}
	}
}

// B1: also when the stream is sent again, by whoever lost the answer.
func TestRefusedLinesAreTriedAgain(t *testing.T) {
	lines := strings.Split(strings.TrimSuffix(stream(5*record.MaxImport), "\n"), "\n")
	near, far, wrong := 3, 4*record.MaxImport, 4*record.MaxImport+2
	lines[near], lines[far], lines[wrong] = "r unknown1", "r unknown2", "wrong"
	c := &cluster{known: map[string]bool{}}
	again := func(want ...int) {
		t.Helper()
		all := run(t, c, strings.NewReader(strings.Join(lines, "\n")))
		var got []int
		for _, p := range all {
			if p.Line > 0 {
				got = append(got, int(p.Line)-1)
			}
		}
		if last := all[len(all)-1]; !last.Done || !slices.Equal(got, want) || last.Refused != uint64(len(want)) {
			t.Errorf("%v refused, and %+v", got, last)
		}
	}
	again(near, far, wrong)
	again(near, far, wrong)
	c.known["unknown2"] = true
	again(near, wrong)
	again(near, wrong)
	if n := len(c.values); n != len(lines)-2 || c.values[n-1] != "runknown2" {
		t.Errorf("%d values, the last %s", n, c.values[n-1])
	}
	c.missing = make([]uint64, record.MaxMissing+1)
	x := bulk.Importer{Most: most, Named: named, Propose: c.propose, Turn: new(turn), Stop: func() {}}
	var nothing *bulk.NotBegun
	if err := x.Import(t.Context(), strings.NewReader(strings.Join(lines, "\n")), io.Discard); !errors.As(err, &nothing) {
		t.Errorf("nobody knows which are missing: %v", err)
	}
}

// B2
func TestStreamGoesOn(t *testing.T) {
	for _, lost := range []bool{false, true} {
		c := &cluster{failAt: 2, lost: lost}
		first := run(t, c, strings.NewReader(stream(20_000)))
		if last := first[len(first)-1]; last.Done || last.Error == nil {
			t.Fatalf("%+v", last)
		}
		again := run(t, c, strings.NewReader(stream(20_000)))
		if last := again[len(again)-1]; !last.Done || last.Through != 20_000 || last.Resumed == 0 {
			t.Errorf("%+v", last)
		}
		if len(c.values) != 20_000 {
			t.Errorf("%d values, of 20000 lines", len(c.values))
		}
	}
}

// B2: a part that overtakes the one before it is sent again.
func TestPartsInTheirOrder(t *testing.T) {
	c := &cluster{overtake: make(chan struct{})}
	all := run(t, c, strings.NewReader(stream(3*record.MaxImport)))
	if last := all[len(all)-1]; !last.Done || last.Through != 3*record.MaxImport || c.gaps == 0 {
		t.Errorf("%+v, and %d gaps", last, c.gaps)
	}
	for i, v := range c.values {
		if want := fmt.Sprintf("r%dv%d", i%3, i); v != want {
			t.Fatalf("%s in the place of %s", v, want)
		}
	}
}

// B1: also when a line that was missing is done after a later part of the stream, which need not wait for it.
func TestRevisionIsThatOfAllLines(t *testing.T) {
	lines := "r unknown\n" + stream(record.MaxImport) // two parts
	c := &cluster{known: map[string]bool{}}
	run(t, c, strings.NewReader(lines))
	c.known["unknown"], c.overtake, c.count = true, make(chan struct{}), 0
	for _, p := range run(t, c, strings.NewReader(lines)) {
		if p.Revision < c.changed {
			t.Errorf("the first line was done at %d, and all are told done at %d: %+v", c.changed, p.Revision, p)
		}
	}
}

// B3
func TestWrongLines(t *testing.T) {
	c := &cluster{}
	long := "r " + strings.Repeat("x", record.MaxRevocationText)
	all := run(t, c, strings.NewReader("r a\n"+long+"\n"+long+long+"\r\nr b\r\n"))
	if last := all[len(all)-1]; !last.Done || last.Through != 4 || last.Refused != 2 {
		t.Errorf("%+v", all)
	}
	if strings.Join(c.values, " ") != "ra rb" {
		t.Errorf("%q", c.values)
	}
	all = run(t, &cluster{}, io.MultiReader(strings.NewReader("r a\nr b"), broken{}))
	if last := all[len(all)-1]; last.Done || last.Error == nil || last.Error.Code != "cut_off" {
		t.Errorf("a stream that breaks: %+v", all)
	}
	if all := run(t, &cluster{}, strings.NewReader("")); len(all) != 1 || !all[0].Done {
		t.Errorf("an empty stream: %+v", all)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// B4
func TestStreamWithoutItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 { // it depends on which of two is seen first
		c := &cluster{}
		var out bytes.Buffer
		x := bulk.Importer{Most: most, Named: named, Propose: c.propose, Turn: new(turn), Stop: func() {}}
		if err := x.Import(ctx, strings.NewReader(stream(10)), &out); err != nil {
			continue
		}
		if strings.Contains(out.String(), `"done":true`) && c.through != 10 {
			t.Fatalf("of 10 lines %d were taken in: %s", c.through, out.String())
		}
	}
}

// B4: whoever closes its side is told so, and not what became of the batch that was on its way.
func TestSenderClosesItsSide(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	x := bulk.Importer{Most: most, Named: named, Turn: new(turn), Stop: func() {}, Propose: func(context.Context, record.Import) (record.Result, error) {
		cancel()
		return record.Result{}, record.ErrOutcomeUnknown
	}}
	err := x.Import(ctx, strings.NewReader(stream(10)), io.Discard)
	if p, _ := httpapi.ProblemOf(err); p.Status != 400 || p.Code != "cut_off" || !strings.Contains(p.Detail, "same Idempotency-Key") {
		t.Errorf("%v", err)
	}
}

// B5: nothing is told of the lines before those that differ, nor of a stream that ends before them.
func TestOtherLinesAreNotToldDone(t *testing.T) {
	lines := 3*record.MaxImport + 10
	for name, other := range map[string]string{
		"the first line differs": "r other\n" + strings.SplitN(stream(lines+10), "\n", 2)[1],
		"it is shorter":          stream(2 * record.MaxImport),
	} {
		t.Run(name, func(t *testing.T) {
			c := &cluster{}
			run(t, c, strings.NewReader(stream(lines)))
			var out bytes.Buffer
			x := bulk.Importer{Most: most, Named: named, Propose: c.propose, Turn: new(turn), Stop: func() {}}
			err := x.Import(t.Context(), strings.NewReader(other), &out)
			var nothing *bulk.NotBegun
			if !errors.As(err, &nothing) {
				t.Errorf("%v, and %+v", err, progress(t, &out))
			}
		})
	}
	c := &cluster{}
	run(t, c, strings.NewReader(stream(lines)))
	for _, p := range run(t, c, strings.NewReader(stream(lines+10))) {
		if p.Resumed != uint64(lines) || p.Through < uint64(lines) {
			t.Errorf("the same lines and more: %+v", p)
		}
	}
}

// What comes slowly is answered as it comes.
func TestSlowStream(t *testing.T) {
	in, send := io.Pipe()
	out, told := io.Pipe()
	x := bulk.Importer{Most: most, Named: named, Propose: (&cluster{}).propose, Turn: new(turn), Stop: func() { _ = in.CloseWithError(io.ErrClosedPipe) }}
	ended := make(chan error, 1)
	go func() { ended <- x.Import(t.Context(), in, told) }()
	d := json.NewDecoder(out)
	for n := range uint64(3) {
		if _, err := io.WriteString(send, "r v\n"); err != nil {
			t.Fatal(err)
		}
		var p bulk.Progress
		if err := d.Decode(&p); err != nil || p.Through != n+1 {
			t.Fatalf("%+v, %v", p, err)
		}
	}
	_ = out.Close() // nobody listens any more
	if _, err := io.WriteString(send, "r v\n"); err == nil {
		if err := <-ended; err == nil {
			t.Error("the end was told to nobody")
		}
	}
}

// sender looks whether the turn is held meanwhile.
type sender struct {
	io.Reader
	t    *testing.T
	turn *turn
}

func (o sender) Read(b []byte) (int, error) {
	if o.turn.held.Load() {
		o.t.Error("it is held while the sender is waited for")
	}
	return o.Reader.Read(b)
}

// B6
func TestTurnIsLeft(t *testing.T) {
	c, mine := &cluster{}, new(turn)
	x := bulk.Importer{Most: most, Named: func(line []byte) (record.Revocation, error) {
		if !mine.held.Load() {
			t.Error("a line is understood out of turn")
		}
		return named(line)
	}, Turn: mine, Stop: func() {}, Propose: func(ctx context.Context, b record.Import) (record.Result, error) {
		for deadline := time.Now().Add(20 * time.Second); mine.held.Load(); runtime.Gosched() {
			if time.Now().After(deadline) {
				t.Error("it is held while the log is waited for")
				break
			}
		}
		return c.propose(ctx, b)
	}}
	var out bytes.Buffer
	if err := x.Import(t.Context(), sender{strings.NewReader(strings.TrimSpace(stream(5 * record.MaxImport))), t, mine}, &out); err != nil {
		t.Fatal(err)
	}
	if all := progress(t, &out); !all[len(all)-1].Done {
		t.Errorf("%+v", all[len(all)-1])
	}
	if mine.held.Load() {
		t.Error("it is held at the end")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	out.Reset()
	err := x.Import(ended, strings.NewReader(stream(1)), &out)
	if p, _ := httpapi.ProblemOf(err); p == nil || p.Code != "cut_off" {
		t.Errorf("nobody waits for it any more: %v %s", err, &out)
	}
}

// fewTurns come to an end with the context, and then again, as some others' do.
type fewTurns struct {
	left int
	end  context.CancelFunc
}

func (f *fewTurns) Share(ctx context.Context) error {
	if f.left--; f.left == -1 {
		f.end()
		return ctx.Err()
	}
	return nil
}

func (f *fewTurns) Leave() {}

// B2: no line is taken for another, as one before it came to no turn.
func TestLineWithoutATurnIsTheLast(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c, lines := &cluster{}, "r a\nr b\nr c\nr d\nr e\n"
	x := bulk.Importer{Most: most, Named: named, Turn: &fewTurns{2, cancel}, Stop: func() {}, Propose: c.propose}
	_ = x.Import(ctx, strings.NewReader(lines), io.Discard) // nobody listens
	if all := run(t, c, strings.NewReader(lines)); !all[len(all)-1].Done {
		t.Errorf("%+v", all[len(all)-1])
	}
	if got := strings.Join(c.values, " "); got != "ra rb rc rd re" {
		t.Errorf("%s", got)
	}
}

func FuzzImport(f *testing.F) {
	f.Add([]byte("r a\nr b\n"))
	f.Add([]byte("\n\r\n x"))
	f.Fuzz(func(t *testing.T, in []byte) {
		all := run(t, &cluster{}, bytes.NewReader(in))
		lines := bytes.Count(in, []byte("\n"))
		if last := in[bytes.LastIndexByte(in, '\n')+1:]; len(bytes.TrimRight(last, "\r")) > 0 {
			lines++
		}
		if last := all[len(all)-1]; !last.Done || last.Through != uint64(lines) {
			t.Fatalf("%d lines: %+v", lines, last)
		}
	})
}

// B7
func TestPartsAreAsLargeAsTheyMay(t *testing.T) {
	var lines strings.Builder
	for i := range 60 {
		fmt.Fprintf(&lines, "r v%d\n", i)
	}
	c, allowed := &cluster{}, []int{10, 20, 10, 20}
	x := bulk.Importer{Named: named, Propose: c.propose, Turn: new(turn), Stop: func() {}, Most: func() int {
		next := allowed[0]
		allowed = append(allowed[1:], next)
		return next
	}}
	if err := x.Import(t.Context(), strings.NewReader(lines.String()), io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, n := range c.sizes {
		if n > 20 {
			t.Errorf("parts of %v lines", c.sizes)
		}
	}
	if len(c.values) != 60 || !slices.Contains(c.sizes, 10) {
		t.Errorf("%d lines in parts of %v", len(c.values), c.sizes)
	}
}
