package data_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// Q10: whoever sends a byte a second never comes to an end, and is not waited for; all at once, as the limit is 10 s.
func TestSlowSendersAreCutOff(t *testing.T) {
	p := start(t)
	var wg sync.WaitGroup
	for name, begins := range map[string]string{
		"says nothing":                 "",
		"in the first line":            "POST /v1/val",
		"in the header":                "POST /v1/validate HTTP/1.1\r\nHost: x\r\nX-A: ",
		"in a body":                    "POST /v1/validate HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{",
		"in a batch":                   "POST /v1/validate/batch HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{",
		"in a body that nobody takes":  "GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{",
		"in a chunk":                   "POST /v1/validate HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
		"in an extension of a chunk":   "POST /v1/validate HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;",
		"in a body behind expectation": "POST /v1/validate HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n\r\n{",
	} {
		wg.Go(func() {
			c, err := net.Dial("tcp", p.addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = c.Close() }()
			if _, err := io.WriteString(c, begins); err != nil {
				t.Error(err)
			}
			stop, ended := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(ended)
				tick := time.NewTicker(time.Second)
				defer tick.Stop()
				for range 60 {
					select {
					case <-stop:
						return
					case <-tick.C:
						if begins == "" {
							continue
						}
						if _, err := c.Write([]byte("a")); err != nil {
							return
						}
					}
				}
			}()
			defer func() { close(stop); <-ended }()
			_ = c.SetReadDeadline(time.Now().Add(40 * time.Second))
			b, err := io.ReadAll(c)
			if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
				t.Errorf("%s: it is waited for still, and was told %q", name, b)
			}
			if strings.Contains(string(b), "200 OK") {
				t.Errorf("%s: %q", name, b)
			}
		})
	}
	wg.Wait()
}
