package gate_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"veto/node/httpapi/gate"
)

// stage is where turns are taken.
type stage struct {
	*gate.Turns
	t    *testing.T
	took atomic.Int64
	late atomic.Int64 // how late a byte is seen
}

const (
	calm  = time.Millisecond
	slice = 10 * time.Millisecond
)

// onStage runs the test with so many turns, in a time of its own.
func onStage(t *testing.T, most int, test func(t *testing.T, s *stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &stage{t: t}
		var err error
		s.Turns, err = gate.NewTurns(gate.TurnsConfig{
			Most: most, Took: func() time.Duration { return time.Duration(s.took.Load()) }, Processors: 2, Calm: calm, Slice: slice, Now: time.Now, After: time.After,
			Echo: func() (io.ReadCloser, io.WriteCloser, error) {
				out, in := io.Pipe()
				return seenLate{out, &s.late}, in, nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		test(t, s)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

type seenLate struct {
	io.ReadCloser
	late *atomic.Int64
}

func (l seenLate) Read(b []byte) (int, error) {
	n, err := l.ReadCloser.Read(b)
	<-time.After(time.Duration(l.late.Load()))
	return n, err
}

// pass has time pass in which the processors are busy with questions for a part of it.
func (s *stage) pass(d time.Duration, busy float64) {
	s.took.Add(int64(float64(d) * busy * 2))
	<-time.After(d)
}

func (s *stage) take(w gate.Work) *gate.Turn {
	s.t.Helper()
	turn := s.Turn(w)
	if err := turn.Take(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	return turn
}

// wait has somebody wait, until it is its turn or it waits indeed.
func (s *stage) wait(w gate.Work) (came chan *gate.Turn) {
	came = make(chan *gate.Turn, 1)
	go func() { came <- s.take(w) }()
	synctest.Wait()
	return came
}

// G6
func TestFewComputeAtOnce(t *testing.T) {
	onStage(t, 2, func(t *testing.T, s *stage) { //nolint:thelper // it is the test
		for range 10 { // nobody asks
			s.take(gate.Work{})
		}
		gone, leave := context.WithCancel(t.Context())
		leave()
		if err := s.Turn(gate.Work{}).Take(gone); !errors.Is(err, context.Canceled) {
			t.Errorf("who is gone: %v", err)
		}
		s.pass(time.Second, 0.005)
		for range 10 { // hardly anybody does
			s.take(gate.Work{})
		}
		s.pass(time.Second, 0.5)
		first, second := s.take(gate.Work{}), s.take(gate.Work{Prompt: true})
		if err := first.Take(t.Context()); err != nil {
			t.Error("one cannot go on with the turn that it has")
		}
		third := s.wait(gate.Work{})
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		for _, w := range []gate.Work{{}, {Prompt: true}} {
			if err := s.Turn(w).Take(ended); !errors.Is(err, context.Canceled) {
				t.Errorf("one more: %v", err)
			}
			if s.Turn(w).TakeWithin(t.Context(), time.Second) || s.Turn(w).TakeWithin(ended, time.Second) {
				t.Error("one more within a second")
			}
		}
		if n := s.Refused(); n != 2 {
			t.Errorf("%d did not come in time, who is gone aside", n)
		}
		if len(third) > 0 {
			t.Error("a third has a turn")
		}
		first.Leave()
		first.Leave() // which is none
		(<-third).Leave()
		second.Leave()
		s.take(gate.Work{})
		s.take(gate.Work{})
		if s.Turn(gate.Work{}).TakeWithin(t.Context(), time.Second) {
			t.Error("turns have become more")
		}
		s.pass(time.Minute, 0)
		s.take(gate.Work{}) // nobody asks any more
	})
	var none *gate.Turns
	turn := none.Turn(gate.Work{})
	for range 3 {
		if !turn.TakeWithin(t.Context(), 0) || turn.Share(t.Context()) != nil {
			t.Error("nil bounds")
		}
		turn.Leave()
	}
}

// G6: of those who have time one may go before what is prompt.
func TestWhatIsPromptGoesFirst(t *testing.T) {
	onStage(t, 1, func(t *testing.T, s *stage) { //nolint:thelper // it is the test
		s.pass(time.Second, 0.5)
		held := s.take(gate.Work{})
		var patient []chan *gate.Turn
		for range 5 {
			patient = append(patient, s.wait(gate.Work{}))
		}
		prompt := []chan *gate.Turn{s.wait(gate.Work{Prompt: true}), s.wait(gate.Work{Prompt: true})}
		held.Leave()
		var order []int
		for range 3 {
			select {
			case turn := <-prompt[0]:
				order = append(order, 0)
				turn.Leave()
			case turn := <-prompt[1]:
				order = append(order, 1)
				turn.Leave()
			case turn := <-patient[0]:
				order = append(order, -1)
				turn.Leave()
			}
		}
		if order[0] != -1 || order[1] != 0 || order[2] != 1 {
			t.Errorf("%v", order)
		}
		for _, came := range patient[1:] {
			(<-came).Leave()
		}
	})
}

// G8
func TestNobodyFillsTheQueue(t *testing.T) {
	onStage(t, 1, func(t *testing.T, s *stage) { //nolint:thelper // it is the test
		s.pass(time.Second, 0.5)
		held := s.take(gate.Work{})
		const many = 100
		came, gone := make(chan bool, many), make(chan bool, 2)
		ask := func(caller string, w gate.Work, came chan<- bool) {
			turn := s.Turn(w)
			turn.For(caller)
			go func() {
				came <- turn.TakeWithin(t.Context(), time.Hour)
				turn.Leave()
			}()
			synctest.Wait()
		}
		for range many {
			ask("a", gate.Work{}, came)
		}
		if len(came) != many-64 || s.Refused() != many-64 || <-came {
			t.Errorf("%d of %d were answered at once, %d refused", len(came), many, s.Refused())
		}
		ask("b", gate.Work{}, gone)
		ask("a", gate.Work{Prompt: true}, gone)
		held.Leave()
		for range 2 {
			if !<-gone {
				t.Error("others are refused, or what is prompt")
			}
		}
		for range many - 1 {
			<-came
		}
		ask("a", gate.Work{}, gone)
		if !<-gone {
			t.Error("refused though nobody waits any more")
		}
	})
}

// G6
func TestTurnsRest(t *testing.T) {
	onStage(t, 1, func(t *testing.T, s *stage) { //nolint:thelper // it is the test
		// turn takes one and leaves it, and then gives for how long nobody has the next.
		turn := func(w gate.Work, long time.Duration) time.Duration {
			turn := s.take(w)
			s.pass(long, 1)
			turn.Leave()
			left := time.Now()
			s.take(gate.Work{}).Leave()
			return time.Since(left)
		}
		settle := func(late time.Duration) {
			s.late.Store(int64(late))
			for range 500 {
				turn(gate.Work{}, 10*time.Microsecond)
				s.pass(10*time.Millisecond, 1)
			}
		}
		settle(calm)
		least := turn(gate.Work{}, 100*time.Microsecond)
		if writes := turn(gate.Work{Writes: true}, 100*time.Microsecond); writes != 5*least || least != time.Millisecond {
			t.Errorf("a calm node rests %s, and %s after a change", least, writes)
		}
		settle(calm + 1)
		most := turn(gate.Work{}, 100*time.Microsecond)
		if most != 2*time.Millisecond || s.Rest() != 20 {
			t.Errorf("a node that is late rests %s, %f turns", most, s.Rest())
		}
		if limit := turn(gate.Work{}, time.Second); limit != 20*time.Millisecond {
			t.Errorf("after a long turn it rests %s", limit)
		}
		settle(0)
		if again := turn(gate.Work{}, 100*time.Microsecond); again != least {
			t.Errorf("a node that is calm again rests %s", again)
		}
		held := s.take(gate.Work{})
		s.pass(slice, 1)
		held.Leave()
		within, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := s.Turn(gate.Work{}).Take(within); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("in a rest: %v", err)
		}
		s.take(gate.Work{}).Leave() // it is there still
		s.pass(time.Minute, 0)
		s.take(gate.Work{})
		if r := s.Rest(); r != 0 {
			t.Errorf("nobody asks, and it rests for %f turns", r)
		}
	})
}

// G6: a node that is kept from answering takes nobody for gone.
func TestStalledNodeStaysCrowded(t *testing.T) {
	onStage(t, 1, func(t *testing.T, s *stage) { //nolint:thelper // it is the test
		s.pass(time.Second, 0.5)
		s.take(gate.Work{})
		for range 10 {
			s.pass(20*time.Millisecond, 0)
			if s.Turn(gate.Work{}).TakeWithin(t.Context(), time.Nanosecond) {
				t.Fatal("as nothing is answered, all compute")
			}
		}
	})
}

// G6
func TestWritesAreOutOfTurn(t *testing.T) {
	onStage(t, 1, func(t *testing.T, s *stage) { //nolint:thelper // it is the test
		s.pass(time.Second, 0.5)
		free := func() bool { return s.Turn(gate.Work{Prompt: true}).TakeWithin(t.Context(), 100*time.Millisecond) }
		turn, w := s.take(gate.Work{}), httptest.NewRecorder()
		if free() {
			t.Fatal("nobody has it")
		}
		if gate.TurnOf(gate.WithTurn(t.Context(), turn)) != turn || gate.TurnOf(t.Context()) != nil {
			t.Error("a context has another's turn")
		}
		if _, err := turn.Answer(w).Write([]byte("an answer")); err != nil || w.Body.String() != "an answer" {
			t.Errorf("%v %s", err, w.Body)
		}
		if !free() {
			t.Error("what is written is written in the turn")
		}
	})
	onStage(t, 1, func(t *testing.T, s *stage) { //nolint:thelper // it is the test
		s.pass(time.Second, 0.5)
		turn := s.take(gate.Work{})
		var others chan *gate.Turn
		var to bytes.Buffer
		out := turn.Paced(t.Context(), writer(func(b []byte) (int, error) {
			others = s.wait(gate.Work{Prompt: true})
			(<-others).Leave()
			return to.Write(b)
		}))
		if _, err := out.Write([]byte("a part")); err != nil || to.String() != "a part" {
			t.Errorf("%v %s", err, &to)
		}
		other := s.wait(gate.Work{})
		if len(other) > 0 {
			t.Fatal("the next part is made out of turn")
		}
		turn.Leave()
		(<-other).Leave()
	})
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

// G6
func TestLongWorkSharesItsTurn(t *testing.T) {
	onStage(t, 1, func(t *testing.T, s *stage) { //nolint:thelper // it is the test
		s.pass(time.Second, 0.5)
		turn := s.take(gate.Work{})
		other := s.wait(gate.Work{Prompt: true})
		share := func() {
			t.Helper()
			if err := turn.Share(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		s.pass(slice-1, 1)
		share()
		if len(other) > 0 {
			t.Fatal("it is shared before its end")
		}
		s.pass(1, 1)
		go func() { (<-other).Leave(); close(other) }()
		share()
		if _, open := <-other; open {
			t.Error("it is taken again before another")
		}
		next := s.wait(gate.Work{})
		if len(next) > 0 {
			t.Fatal("it is not held after it was shared")
		}
		turn.Leave()
		(<-next).Leave()
		share() // takes one
		if s.Turn(gate.Work{}).TakeWithin(t.Context(), time.Millisecond) {
			t.Error("it is not taken")
		}
	})
}
