package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server answers on pipes, in the fake time of a test.
type server struct {
	began time.Time
	// answer gives what is written for a request; nothing breaks the connection.
	answer func(s *server) string
}

func (s *server) dial(context.Context, string) (net.Conn, error) {
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		for r := bufio.NewReader(far); ; {
			q, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, q.Body)
			text := s.answer(s)
			if _, err := io.WriteString(far, text); err != nil || text == "" {
				return
			}
		}
	}()
	return near, nil
}

const fine = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func load(s *server, rate float64) Load {
	s.began = time.Now()
	return Load{
		Addresses: []string{"a"}, Rate: rate, Connections: 10, Duration: 10 * time.Second, dial: s.dial, ticks: newTicker,
		Request: func(int64, []byte) []byte { return []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n") },
		Good:    func(status int, body []byte) bool { return status == 200 && string(body) == "ok" },
	}
}

// stalls answers after a millisecond, but nothing at all from the third second to the fourth.
func stalls(s *server) string {
	<-time.After(time.Millisecond)
	if at := time.Since(s.began); at > 3*time.Second && at < 4*time.Second {
		<-time.After(4*time.Second - at)
	}
	return fine
}

// L1: a tenth of all were due while the server stalled, and waited for half of that on average. Only ten of
// them were sent then, one by each connection: to count from when they were sent would not show it.
func TestStallShowsInTheOpenLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := load(&server{answer: stalls}, 1000).Run(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 10_000, r.Good)
		require.Less(t, r.Latency.At(0.85), 10*time.Millisecond)
		require.Greater(t, r.Latency.At(0.95), 400*time.Millisecond)
		require.Greater(t, r.Latency.At(0.99), 850*time.Millisecond)
		closed, err := load(&server{answer: stalls}, 0).Run(t.Context())
		require.NoError(t, err)
		require.Less(t, closed.Latency.At(0.99), 10*time.Millisecond, "the closed loop is known to hide it")
	})
}

// L5
func TestRateIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, rate := range []float64{0.5, 7, 333, 2000} {
			l := load(&server{answer: func(*server) string { return fine }}, rate)
			l.Warmup = 2 * time.Second
			r, err := l.Run(t.Context())
			require.NoError(t, err)
			require.InDelta(t, rate*10, r.Good, 1)
			require.InDelta(t, rate, r.Rate, 0.1)
			require.LessOrEqual(t, r.Late.Max(), longestTick+time.Millisecond)
		}
	})
}

// L2: the server answers nothing after the sixth second.
func TestWhatIsNeverAnsweredIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone, over := make(chan struct{}), &server{}
		over.answer = func(s *server) string {
			if time.Since(s.began) > 6*time.Second {
				<-gone
			}
			return fine
		}
		r, err := load(over, 100).Run(t.Context())
		close(gone)
		require.NoError(t, err)
		require.InDelta(t, 600, r.Good, 2)
		require.EqualValues(t, 1000, r.Good+r.Unanswered)
		require.EqualValues(t, 1000, r.Latency.Count())
		require.Greater(t, r.Latency.At(0.7), DefaultDrain, "they wait until the end")
	})
}

func TestBadAnswersAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := load(&server{answer: func(*server) string { return "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n" }}, 10).Run(t.Context())
		require.NoError(t, err)
		require.Zero(t, r.Good)
		require.EqualValues(t, 100, r.Bad)
		require.Equal(t, map[int]int64{403: 100}, r.Statuses)
	})
}

func TestBrokenConnectionsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		l := load(&server{answer: func(*server) string {
			if n++; n%2 == 0 {
				return ""
			}
			return fine
		}}, 10)
		l.Connections = 1
		r, err := l.Run(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 50, r.Good)
		require.EqualValues(t, 50, r.Failed)
		require.Equal(t, map[string]int64{"EOF": 50}, r.Reasons)

		l.dial = func(context.Context, string) (net.Conn, error) { return nil, errors.New("no") }
		r, err = l.Run(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 100, r.Failed)
	})
}

// What is stopped gives what there is, and why it is not all.
func TestStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		for _, rate := range []float64{0, 10} {
			_, err := load(&server{answer: stalls}, rate).Run(ctx)
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
		<-time.After(time.Second) // until the servers have seen that nobody is there
	})
}

// L6
func TestLoadsThatCannotBe(t *testing.T) {
	const forever = time.Duration(math.MaxInt64)
	for _, l := range []Load{
		{Connections: 1, Duration: 1},
		{Addresses: []string{"a"}, Duration: 1},
		{Addresses: []string{"a"}, Connections: 1},
		{Addresses: []string{"a"}, Connections: 1, Duration: 1, Rate: -1},
		{Addresses: []string{"a"}, Connections: 1 << 20, Duration: 1},
		{Addresses: []string{"a"}, Connections: 1, Duration: 1, Rate: math.NaN()},
		{Addresses: []string{"a"}, Connections: 1, Duration: time.Second, Rate: 1e20},
		{Addresses: []string{"a"}, Connections: 1, Duration: forever, Warmup: forever, Rate: 1},
	} {
		l.Request = func(int64, []byte) []byte { panic("a request is made") }
		_, err := l.Run(t.Context())
		require.Error(t, err)
	}
}

// L4
func TestLatenciesAreKept(t *testing.T) {
	var all, odd, even Latencies
	require.Zero(t, all.At(0.5))
	for i := range 10_000 {
		d := time.Duration(i+1) * 100 * time.Microsecond
		all.Add(d)
		if i%2 == 0 {
			even.Add(d)
		} else {
			odd.Add(d)
		}
	}
	var both Latencies
	both.Merge(&Latencies{})
	both.Merge(&odd)
	both.Merge(&even)
	require.EqualValues(t, 10_000, both.Count())
	require.EqualValues(t, 5_000, odd.Count(), "what is merged stays as it is")
	for _, share := range []float64{0.5, 0.9, 0.99, 0.999, 1} {
		require.InEpsilon(t, share*1e9, all.At(share).Nanoseconds(), 0.001)
		require.Equal(t, all.At(share), both.At(share))
	}
	all.Add(time.Hour)
	require.InEpsilon(t, coarsest, all.Max(), 0.001)
}

// On real sockets, by the kernel's timer.
func TestOverSockets(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })}
	go func() { _ = s.Serve(l) }()
	defer s.Close()
	r, err := Load{
		Addresses: []string{l.Addr().String()}, Rate: 500, Connections: 4, Duration: 300 * time.Millisecond,
		Request: func(n int64, room []byte) []byte {
			return fmt.Appendf(room, "GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", n)
		},
	}.Run(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 150, r.Good, "%+v", r)
}
