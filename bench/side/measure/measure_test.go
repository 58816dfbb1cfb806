package measure

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"veto/bench/side/tokens"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// B2: a server that always says the same is found out.
func TestWrongJudgesFail(t *testing.T) {
	maker, err := tokens.New("EdDSA")
	require.NoError(t, err)
	stranger, err := tokens.New("EdDSA")
	require.NoError(t, err)
	good, err := maker.Token(1)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		status int
		body   string
		want   string
	}{
		"allows all":  {200, `{"outcome":"allow"}`, "it says allow: true"},
		"denies all":  {401, `{"outcome":"deny"}`, "it says allow: false"},
		"is not well": {500, ``, "status 500"},
	} {
		t.Run(name, func(t *testing.T) {
			h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			}))
			defer h.Close()
			defer http.DefaultClient.CloseIdleConnections()
			s := &system{name: "x", address: strings.TrimPrefix(h.URL, "http://"), request: bearer, allowed: `"allow"`, tokens: []string{good}}
			_, err := judged(t.Context(), s, maker, stranger, 7)
			require.ErrorContains(t, err, c.want)
		})
	}
}

// B2: one wrong answer among the samples, of either kind, is found; the first and the last are among them.
func TestWrongSamplesFail(t *testing.T) {
	const n = 12_345
	for name, wrong := range map[string]string{"none": "", "the first is allowed": "bad-0", "the last is allowed": fmt.Sprint("bad-", n-1), "one is denied": "good-77"} {
		t.Run(name, func(t *testing.T) {
			h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
				if strings.HasPrefix(token, "good") != (token == wrong) {
					_, _ = io.WriteString(w, "allow")
				}
			}))
			defer h.Close()
			defer http.DefaultClient.CloseIdleConnections()
			s := &system{name: "x", address: strings.TrimPrefix(h.URL, "http://"), request: bearer, allowed: "allow"}
			err := exact(t.Context(), s, 300, func(i int) (string, error) { return fmt.Sprint("good-", i), nil }, func(i int) (string, error) { return fmt.Sprint("bad-", spread(i, 300, n)), nil })
			if wrong == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, "must have allow")
		})
	}
}

// B3
func TestSlope(t *testing.T) {
	x := []float64{1, 10, 100, 1000}
	for want, y := range map[float64][]float64{0: {5, 5, 5, 5}, 1: {2, 20, 200, 2000}, 0.5: {1, math.Sqrt(10), 10, math.Sqrt(1000)}, -1: {1, 0.1, 0.01, 0.001}} {
		require.InDelta(t, want, Slope(x, y), 1e-9)
	}
	require.True(t, math.IsNaN(Slope(x[:1], x[:1])))
	require.InDelta(t, 2, Each([]float64{1, 10, 100}, []float64{102, 120, 300}), 1e-9)
	require.True(t, math.IsNaN(Each(x[:1], x[:1])))
	require.Equal(t, 2.0, median([]float64{9, 1, 2}))
	require.InDelta(t, 3.5, Spread([]float64{9, 1, 2}), 1e-9)
}

// The generator's process is told, and tells, all that counts.
func TestRunLoad(t *testing.T) {
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer bad" {
			w.WriteHeader(http.StatusUnauthorized)
		}
		_, _ = io.WriteString(w, "yes")
	}))
	defer h.Close()
	in, err := json.Marshal(Spec{
		Address: strings.TrimPrefix(h.URL, "http://"), Requests: []string{bearer("good"), bearer("bad")}, Status: 200, Within: "yes",
		Rate: 100, Connections: 2, Duration: 200 * time.Millisecond,
	})
	require.NoError(t, err)
	var out bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, RunLoad(ctx, bytes.NewReader(in), &out))
	var got Loaded
	require.NoError(t, json.Unmarshal(out.Bytes(), &got))
	require.EqualValues(t, 10, got.Good)
	require.EqualValues(t, 10, got.Bad)
	require.NotZero(t, got.Latency.P99)
}

func TestParse(t *testing.T) {
	got := parse([]byte("goos: linux\nBenchmarkCold/RS256-2   \t 10\t 0 ns/op\t 29000 best-ns\t 1.080 x-floor\n"+
		"BenchmarkWarm/one-2 \t 100\t 280.5 ns/op\t 0 B/op\t 0 allocs/op\nBenchmarkWarm/parallel-2 \t 100\t 140 ns/op\nBenchmarkAPIKey/one-2 \t 1\t 400 ns/op\t 0 B/op\t 0 allocs/op\nPASS\n"), 100_000)
	require.Equal(t, []Check{
		{What: "Veto, a token never seen", Alg: "RS256", Nanos: 29000, Floor: 1.08, Allocs: -1},
		{What: "Veto, a token seen before, among 100,000 revocations", Alg: "any", Nanos: 280.5},
		{What: "Veto, an API key", Nanos: 400},
	}, got)
}
