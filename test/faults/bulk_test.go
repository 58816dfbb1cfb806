//go:build faults

package faults

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"veto/client"
)

// A stream of revocations is sent while the nodes that take it are killed, one after the other: it
// is taken in whole, each line once, on every node.
func TestBulkThroughKills(t *testing.T) {
	const lines = 150_000
	c := startCluster(t, 3, 0, time.Hour, false)
	var stream strings.Builder
	for i := range lines {
		fmt.Fprintf(&stream, `{"target":"jti","issuer":%q,"value":"bulk-%d"}`+"\n", c.given.name, i)
	}
	all := client.New(client.Options{
		Control: []string{c.control(0), c.control(1), c.control(2)},
		Token:   c.admin,
	})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	progress := make(chan uint64, 1)
	killed := make(chan int)
	go func() {
		defer close(killed)
		count := 0
		for through := range progress {
			if next := uint64(lines / 4 * (count + 1)); through >= next && count < 3 {
				c.kill(count)
				c.start(count)
				count++
			}
		}
		killed <- count
	}()
	last, err := all.RevokeAll(ctx, "a-stream", func() (io.ReadCloser, error) {
		return io.NopCloser(slow{strings.NewReader(stream.String())}), nil
	}, func(p client.Progress) {
		select {
		case progress <- p.Through:
		default:
		}
	})
	close(progress)
	if err != nil || last.Through != lines || last.Refused != 0 {
		t.Errorf("%+v, %v", last, err)
	}
	t.Logf("%d nodes were killed; %d lines had been done when the stream was sent again", <-killed, last.Resumed)
	for i := range c.nodes {
		c.ready(i)
		c.until(id(i)+" to have all lines", func() bool {
			var out bytes.Buffer
			return c.at(i).Export(ctx, &out) == nil && bytes.Count(out.Bytes(), []byte("\n")) == lines
		})
	}
}

// slow comes in small pieces, so that there is time for harm.
type slow struct{ io.Reader }

func (s slow) Read(p []byte) (int, error) {
	<-time.After(200 * time.Microsecond)
	return s.Reader.Read(p[:min(len(p), 4096)])
}
