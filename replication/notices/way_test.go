package notices_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"veto/record"
	"veto/replication/notices"
)

// ends are connections that the test holds the other ends of, in the bubble's time.
type ends struct {
	dialed   chan net.Conn
	accepted chan net.Conn
	mu       sync.Mutex
	down     bool
}

func newEnds() *ends { return &ends{dialed: make(chan net.Conn, 16), accepted: make(chan net.Conn)} }

func (e *ends) AcceptNotices(ctx context.Context) (net.Conn, string, error) {
	select {
	case c := <-e.accepted:
		return c, "a", nil
	case <-ctx.Done():
		return nil, "", ctx.Err()
	}
}

func (e *ends) DialNotices(ctx context.Context, _, _ string) (net.Conn, error) {
	e.mu.Lock()
	down := e.down
	e.mu.Unlock()
	if down { // as where packets are lost
		<-ctx.Done()
		return nil, ctx.Err()
	}
	ours, theirs := net.Pipe()
	e.dialed <- theirs
	return ours, nil
}

func (e *ends) set(down bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.down = down
}

func startWith(e *ends, each func(record.Notice)) *notices.Notices {
	return startLogging(e, each, io.Discard)
}

func startLogging(e *ends, each func(record.Notice), log io.Writer) *notices.Notices {
	return notices.Start(e, notices.Handlers{Notice: each, Beacon: func(record.Beacon) {}}, slog.New(slog.NewTextHandler(log, nil)))
}

// answering reads what is told, answers pings, and hands on the words until the connection ends.
func answering(c net.Conn, each func(record.Notice)) {
	r, w := net.Pipe()
	go func() {
		defer func() { _ = w.Close() }()
		room := make([]byte, 64<<10)
		for {
			n, err := c.Read(room)
			if err != nil {
				return
			}
			if bytes.Equal(room[:n], make([]byte, 4)) {
				if _, err := c.Write([]byte{0}); err != nil {
					return
				}
				continue
			}
			if _, err := w.Write(room[:n]); err != nil {
				return
			}
		}
	}()
	notices.ReadAll(r, func(w any) { each(w.(record.Notice)) })
}

// P2, N3
func TestNodeThatDoesNotHearHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		deaf, good := newEnds(), make(chan record.Notice, 1<<12)
		n := startWith(deaf, nil)
		defer n.Close()
		n.To(map[string]string{"deaf": "d", "good": "g"})
		<-deaf.dialed // nobody reads
		c := <-deaf.dialed
		go answering(c, func(x record.Notice) { good <- x })
		synctest.Wait()
		if s := n.Stats(); s.Nodes != 1 { // the deaf one does not answer
			t.Fatalf("%+v", s)
		}
		large := notice(1)
		large.Node = string(bytes.Repeat([]byte("n"), notices.MaxWord/2))
		count := 4 * notices.MaxWaiting / notices.MaxWord
		began := time.Now()
		for range count {
			n.Notice(large)
			<-good
		}
		dropped := n.Stats().Unsent
		if atMost := uint64(count); dropped == 0 || dropped > atMost {
			t.Errorf("%d of %d were dropped", dropped, count)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %s of the bubble's time", took)
		}
		large.Node += large.Node
		n.Notice(large)
		if d := n.Stats().Unsent; d != dropped+1 {
			t.Errorf("what is too long was dropped %d times", d-dropped)
		}
	})
}

// N1
func TestNothingOldIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, heard := newEnds(), make(chan record.Notice, 16)
		e.set(true)
		n := startWith(e, nil)
		defer n.Close()
		n.To(map[string]string{"b": "b"})
		large := notice(1)
		large.Node = string(bytes.Repeat([]byte("n"), notices.MaxWord/2))
		for range 4 * notices.MaxWaiting / notices.MaxWord {
			n.Notice(large)
		}
		<-time.After(time.Minute)
		n.Notice(notice(2))
		if s := n.Stats(); s.Unsent != 0 || s.Nodes != 0 {
			t.Errorf("for a node that is not connected there is no room: %+v", s)
		}
		e.set(false)
		down := time.Now()
		c := <-e.dialed
		if took := time.Since(down); took > notices.Again {
			t.Errorf("it is tried again after %s", took)
		}
		go answering(c, func(x record.Notice) { heard <- x })
		synctest.Wait()
		n.Notice(notice(3))
		if got := <-heard; got.Revision != 3 {
			t.Errorf("%+v", got)
		}
		_ = c.Close()
		c = <-e.dialed // nobody reads
		for range 3 {
			synctest.Wait()
			n.Notice(notice(4))
		}
		_ = c.Close()
		c = <-e.dialed
		go answering(c, func(x record.Notice) { heard <- x })
		synctest.Wait()
		n.Notice(notice(5))
		if got := <-heard; got.Revision != 5 {
			t.Errorf("%+v", got)
		}
		n.To(nil)
		ended(t, c)
	})
}

// ended fails if the connection goes on for a minute.
func ended(t *testing.T, c net.Conn) (after time.Duration) {
	t.Helper()
	began := time.Now()
	if err := c.SetReadDeadline(began.Add(time.Minute)); err != nil {
		return 0 // it is closed on this side
	}
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection goes on: %v", err)
	}
	return time.Since(began)
}

// N1
func TestSilenceEndsAConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		e := newEnds()
		n := startLogging(e, func(record.Notice) {}, &log)
		defer n.Close()
		n.To(map[string]string{"b": "b"})
		told := <-e.dialed
		go answering(told, func(record.Notice) {})
		<-time.After(10 * notices.Silence)
		if s := n.Stats(); s.Nodes != 1 || len(e.dialed) != 0 {
			t.Errorf("who answers was given up: %+v", s)
		}

		ours, theirs := net.Pipe()
		e.accepted <- ours
		if took := ended(t, theirs); took != notices.Silence {
			t.Errorf("who says nothing is given up after %s", took)
		}

		_ = told.Close()
		for range 3 {
			select {
			case mute := <-e.dialed:
				go func() { _, _ = io.Copy(io.Discard, mute) }() // it reads, and answers nothing
			case <-time.After(notices.Silence + notices.Again):
				t.Fatal("who answers nothing is not given up")
			}
			synctest.Wait()
			if s := n.Stats(); s.Nodes != 0 {
				t.Errorf("who answers nothing counts: %+v", s)
			}
		}
		if text := log.String(); strings.Count(text, "answers no notices") != 1 {
			t.Errorf("it is said: %s", text)
		}
	})
}

// N1: a connection that was good is made anew at once, and two that push each other out are not for ever at it.
func TestGoodConnectionIsMadeAnewAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnds()
		n := startWith(e, nil)
		defer n.Close()
		n.To(map[string]string{"b": "b"})
		for range 3 {
			for _, lasts := range []time.Duration{time.Hour, 0} {
				c := <-e.dialed
				go answering(c, func(record.Notice) {})
				synctest.Wait()
				<-time.After(lasts)
				_ = c.Close()
				synctest.Wait()
				if again := len(e.dialed) == 1; again != (lasts > 0) {
					t.Errorf("after %s it is made anew at once: %t", lasts, again)
				}
			}
		}
	})
}

// N1: a ping waits behind what is told before it, and so would its answer.
func TestSlowNodeIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, far, heard := newEnds(), newEnds(), make(chan record.Notice, 64)
		n := startWith(e, nil)
		defer n.Close()
		other := startWith(far, func(x record.Notice) { heard <- x })
		defer other.Close()
		n.To(map[string]string{"b": "b"})
		told := <-e.dialed
		theirs, between := net.Pipe()
		far.accepted <- theirs
		var carried sync.WaitGroup
		defer carried.Wait()
		defer func() { _, _ = told.Close(), between.Close() }()
		carried.Go(func() { _, _ = io.Copy(told, between) }) // the answers
		carried.Go(func() { slowly(told, between) })
		synctest.Wait()
		large := notice(1)
		large.Node = string(bytes.Repeat([]byte("n"), notices.MaxWord/4))
		count := notices.MaxWaiting / notices.MaxWord * 3
		began := time.Now()
		for range count {
			n.Notice(large)
		}
		for range count {
			<-heard
		}
		if took := time.Since(began); took < 2*notices.Silence || n.Stats().Unsent != 0 || len(e.dialed) != 0 {
			t.Errorf("after %s: %+v, and connected again %d times", took, n.Stats(), len(e.dialed))
		}
	})
}

// slowly hands on 128 KiB a second.
func slowly(from io.Reader, to io.Writer) {
	for room := make([]byte, 16<<10); ; <-time.After(time.Second / 8) {
		n, err := from.Read(room)
		if err == nil {
			_, err = to.Write(room[:n])
		}
		if err != nil {
			return
		}
	}
}

// N2
func TestNewestConnectionIsHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, heard := newEnds(), make(chan record.Notice, 16)
		n := startWith(e, func(x record.Notice) { heard <- x })
		defer n.Close()
		var theirs [3]net.Conn
		for i := range theirs {
			var ours net.Conn
			ours, theirs[i] = net.Pipe()
			e.accepted <- ours
			synctest.Wait()
		}
		frame, err := notices.Frame(notice(1))
		if err != nil {
			t.Fatal(err)
		}
		for i, c := range theirs {
			_, err := c.Write(frame)
			if newest := i == len(theirs)-1; (err == nil) != newest {
				t.Errorf("connection %d: %v", i, err)
			}
		}
		<-heard
		if len(heard) != 0 {
			t.Error("it is heard twice")
		}
	})
}

// P2
func TestWhatCannotBeReadIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, heard := newEnds(), make(chan record.Notice, 16)
		n := startWith(e, func(x record.Notice) { heard <- x })
		defer n.Close()
		ours, theirs := net.Pipe()
		e.accepted <- ours
		good, err := notices.Frame(notice(7))
		if err != nil {
			t.Fatal(err)
		}
		for _, odd := range [][]byte{{0, 0, 0, 1, 0xff}, {0, 0, 0, 1, 0xa0}, {0, 0, 0, 3, 0xa1, 0x09, 0x01}, {0, 0, 0, 2, 0x01, 0x02}} {
			if _, err := theirs.Write(append(odd, good...)); err != nil {
				t.Fatal(err)
			}
			if got := <-heard; got.Revision != 7 {
				t.Errorf("%+v", got)
			}
		}
		if s := n.Stats(); s.Unread != 4 || s.Received != 4 {
			t.Errorf("%+v", s)
		}
		go func() { _, _ = theirs.Write([]byte{0xff, 0xff, 0xff, 0xff}) }() // is not waited for
		if took := ended(t, theirs); took != 0 {
			t.Errorf("a word that is too long ends the connection after %s", took)
		}
	})
}

// FuzzReader: whatever comes, no more than it is read.
func FuzzReader(f *testing.F) {
	for _, w := range []any{notice(7), record.Beacon{Cluster: "c", Commit: 3}} {
		b, err := notices.Frame(w)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(append(make([]byte, 4), b...))
		f.Add(b[:len(b)-1])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		notices.ReadAll(bytes.NewReader(b), func(w any) {
			again, err := notices.Frame(w)
			if err != nil {
				t.Fatalf("what was read cannot be told: %v", err)
			}
			notices.ReadAll(bytes.NewReader(again), func(any) {})
		})
	})
}
