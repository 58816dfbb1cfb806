package trace

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Header is the name of what carries a trace, by W3C Trace Context.
const Header = "traceparent"

const (
	exportLimit = 5 * time.Second
	closeLimit  = 2 * time.Second
)

// Config is what a Tracer is made of.
type Config struct {
	// Endpoint is the URL of the collector, with its path: http://host:4318/v1/traces.
	Endpoint string
	// Sample is the part of the traces that begin here that is told of, 0 to 1. Of one that began elsewhere its
	// beginner says.
	Sample          float64
	NodeID, Version string
	Log             *slog.Logger
}

// Tracer tells of steps. It may be used from anywhere; nil tells of nothing.
type Tracer struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
	carrier  propagation.TraceContext
}

// Open makes a Tracer. It does not wait for the collector, which may be down. The caller closes it.
func Open(ctx context.Context, c Config) (*Tracer, error) {
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(c.Endpoint), otlptracehttp.WithTimeout(exportLimit))
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	what := resource.NewSchemaless(attribute.String("service.name", "veto"), attribute.String("service.instance.id", c.NodeID),
		attribute.String("service.version", c.Version))
	p := sdk.NewTracerProvider(sdk.WithBatcher(&telling{SpanExporter: exporter, log: c.Log}), sdk.WithResource(what), sdk.WithSampler(sdk.ParentBased(sdk.TraceIDRatioBased(c.Sample))))
	return &Tracer{provider: p, tracer: p.Tracer("veto")}, nil
}

// Close sends what waits, for a moment.
func (t *Tracer) Close() error {
	if t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("traces: %w", err)
	}
	return nil
}

// Begin begins a step, which the function ends. The name is the program's, never what somebody sent.
func (t *Tracer) Begin(ctx context.Context, step string) (within context.Context, end func()) {
	if t == nil {
		return ctx, nothing
	}
	ctx, span := t.tracer.Start(ctx, step)
	return ctx, func() { span.End() }
}

func nothing() {}

// Carried is what brings the trace to another node; empty if nobody is to be told of it.
func (t *Tracer) Carried(ctx context.Context) string {
	if t == nil || !trace.SpanContextFromContext(ctx).IsSampled() {
		return ""
	}
	m := propagation.MapCarrier{}
	t.carrier.Inject(ctx, m)
	return m[Header]
}

// Continue goes on with what was carried here. What is no traceparent is left out.
func (t *Tracer) Continue(ctx context.Context, carried string) context.Context {
	if t == nil || carried == "" {
		return ctx
	}
	return t.carrier.Extract(ctx, propagation.MapCarrier{Header: carried})
}
