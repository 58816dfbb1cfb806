package trace

import (
	"context"
	"log/slog"

	sdk "go.opentelemetry.io/otel/sdk/trace"
)

// telling says in the node's log when what is told cannot be sent, and when it can again. OpenTelemetry has one handler
// of errors for the whole process, which writes to standard error: it hears of none.
type telling struct {
	sdk.SpanExporter
	log     *slog.Logger
	failing bool // owned by the one goroutine that sends
}

// ExportSpans is called by one goroutine at a time. What fails is dropped.
func (t *telling) ExportSpans(ctx context.Context, steps []sdk.ReadOnlySpan) error {
	err := t.SpanExporter.ExportSpans(ctx, steps)
	switch {
	case err != nil && !t.failing:
		t.log.Warn("traces cannot be sent; steps are dropped until they can", "error", err)
	case err == nil && t.failing:
		t.log.Info("traces are sent again")
	}
	t.failing = err != nil
	return nil
}
