package node

import (
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// BenchmarkHTTP is a warm token of 800 bytes over HTTP, against a handler that does nothing on the
// same server library, asked by the same client with the same request, in turns. Aim: 0.85 of
// its requests a second.
func BenchmarkHTTP(b *testing.B) {
	x := newBench(b, 24000, *benchRevoked)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	empty := &fasthttp.Server{Handler: func(*fasthttp.RequestCtx) {}, NoDefaultDate: true, ReadBufferSize: maxHeaders}
	go func() { _ = empty.Serve(l) }()
	b.Cleanup(func() { _ = empty.Shutdown() })
	token := x.token(b, "EdDSA", 10*(*benchRevoked))
	const clients, each = 16, 500
	round := func(addr string) float64 {
		// The library's own dialer leaves a goroutine for good, and a client one for as long as a connection may be idle.
		c := &fasthttp.HostClient{
			Addr: addr, MaxConns: clients, MaxIdleConnDuration: 100 * time.Millisecond,
			Dial: func(addr string) (net.Conn, error) { return net.Dial("tcp", addr) },
		}
		defer c.CloseIdleConnections()
		var wg sync.WaitGroup
		var refused atomic.Int64
		start := time.Now()
		for range clients {
			wg.Go(func() {
				var q fasthttp.Request
				var a fasthttp.Response
				q.SetRequestURI("http://" + addr + "/v1/validate")
				q.Header.SetMethod("POST")
				q.Header.Set("Authorization", "Bearer "+token)
				for range each {
					if err := c.Do(&q, &a); err != nil || a.StatusCode() != 200 {
						refused.Add(1)
					}
				}
			})
		}
		wg.Wait()
		if refused.Load() > 0 {
			b.Fatal("refused")
		}
		return clients * each / time.Since(start).Seconds()
	}
	veto := x.config.address(dataPort)
	round(veto)
	var ratios []float64
	best := 0.0
	for b.Loop() {
		floor, full := round(l.Addr().String()), round(veto)
		ratios, best = append(ratios, full/floor), max(best, full)
	}
	slices.Sort(ratios)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(best, "best-req/s")
	b.ReportMetric(ratios[len(ratios)/2], "x-empty")
}
