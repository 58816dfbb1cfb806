package trace_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	"go.uber.org/goleak"

	"veto/node/trace"
	"veto/test/said"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// X2
func TestOffCostsNothing(t *testing.T) {
	var off *trace.Tracer
	ctx := t.Context()
	if n := testing.AllocsPerRun(1000, func() {
		ctx, end := off.Begin(off.Continue(ctx, sampled), "step")
		if off.Carried(ctx) != "" {
			t.Error("something is carried")
		}
		end()
	}); n != 0 {
		t.Errorf("%g allocations", n)
	}
	if err := off.Close(); err != nil {
		t.Error(err)
	}
}

const sampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// open has a Tracer that tells of the part, and what it has told at the end.
func open(t *testing.T, part float64) (tracer *trace.Tracer, told func() int64) {
	t.Helper()
	var count atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { count.Add(1) }))
	t.Cleanup(server.Close)
	x, err := trace.Open(t.Context(), trace.Config{Endpoint: server.URL + "/v1/traces", Sample: part, NodeID: "n1", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return x, func() int64 {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
		return count.Load()
	}
}

// X2
func TestNotSampledIsNotTold(t *testing.T) {
	for _, c := range []struct {
		part    float64
		carried string
		told    bool
	}{
		{0, "", false},
		{1, "", true},
		{0, sampled, true},
		{1, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", false},
	} {
		sent := false
		for tries := 0; !sent && (tries == 0 || c.told && tries < 5); tries++ { // a busy machine sends nothing as long as Close waits
			x, told := open(t, c.part)
			ctx, end := x.Begin(x.Continue(t.Context(), c.carried), "step")
			if got := x.Carried(ctx) != ""; got != c.told {
				t.Errorf("%+v: carried on: %t", c, got)
			}
			end()
			sent = told() > 0
		}
		if sent != c.told {
			t.Errorf("%+v: told: %t", c, sent)
		}
	}
}

// X3
func TestCarriedIsChecked(t *testing.T) {
	x, told := open(t, 0)
	for _, bad := range []string{"", "x", "00-00000000000000000000000000000000-b7ad6b7169203331-01", sampled[:50], "ff" + sampled[2:], string(make([]byte, 1<<16))} {
		ctx, end := x.Begin(x.Continue(context.Background(), bad), "step")
		if got := x.Carried(ctx); got != "" {
			t.Errorf("%.60q goes on as %q", bad, got)
		}
		end()
	}
	if told() != 0 {
		t.Error("it was told of")
	}
}

// X4
func TestWhatCannotBeSentIsLogged(t *testing.T) {
	was := otel.GetErrorHandler()
	t.Cleanup(func() { otel.SetErrorHandler(was) })
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { t.Errorf("the whole process is told: %v", err) }))
	const batch = 512 // as many as are sent at once
	var refused atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if refused.Add(1) <= 2 {
			http.Error(w, "no key", http.StatusUnauthorized)
		}
	}))
	defer server.Close()
	var log said.Output
	x, err := trace.Open(t.Context(), trace.Config{
		Endpoint: server.URL + "/v1/traces", Sample: 1, NodeID: "n1", Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 * batch {
		_, end := x.Begin(t.Context(), "step")
		end()
	}
	for limit := time.After(time.Minute); !strings.Contains(log.String(), "sent again"); { // Close does not wait for all
		select {
		case <-limit:
			t.Fatalf("nothing is sent again: %s", log.String())
		case <-time.After(10 * time.Millisecond):
		}
	}
	if err := x.Close(); err != nil {
		t.Error(err)
	}
	if all := log.String(); strings.Count(all, "cannot be sent") != 1 || !strings.Contains(all, "401") || strings.Count(all, "sent again") != 1 {
		t.Error(all)
	}
}
