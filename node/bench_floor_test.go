package node

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// floors are what no cluster on this machine gets below, measured in between: a small message there and back as nodes
// send each other; and, of what waits for disks, small durable writes on that of the nodes.
type floors struct {
	b *testing.B
	// appended are files that grow, one for each node; kept is one whose blocks are there already. Nil if no disk is
	// waited for.
	appended []*disk
	kept     *disk
	way      *way
	delay    time.Duration
	written  map[string][]time.Duration
}

// newFloors are without disks.
func newFloors(x *apart, delay time.Duration, port int) *floors {
	x.b.Helper()
	return &floors{b: x.b, way: newWay(x, delay, port), delay: delay, written: map[string][]time.Duration{}}
}

// ofDisks are of what waits for disks, too.
func (f *floors) ofDisks() *floors {
	f.b.Helper()
	f.kept = newDisk(f.b)
	for range 3 {
		f.appended = append(f.appended, newDisk(f.b))
	}
	f.kept.round = 1 << 20
	_, err := f.kept.f.Write(make([]byte, f.kept.round))
	if err = errors.Join(err, f.kept.f.Sync()); err != nil {
		f.b.Fatal(err)
	}
	return f
}

func (f *floors) measure() {
	f.took("trip-", f.way.trip()-2*f.delay)
	if f.kept == nil {
		return
	}
	f.took("disk-", f.appended[0].write())
	f.took("kept-", f.kept.write())
	var all [3]time.Duration
	var wg sync.WaitGroup
	for i, d := range f.appended {
		wg.Go(func() { all[i] = d.write() })
	}
	wg.Wait()
	f.took("disks-", slices.Max(all[:]))
}

func (f *floors) took(what string, d time.Duration) { f.written[what] = append(f.written[what], d) }

// report tells of the floors, and how many times as long as a message there and back, and as one write for each node
// at once, what was measured took.
func (f *floors) report(measured []time.Duration) {
	f.b.Helper()
	for name, all := range f.written {
		reportSpread(f.b, name, all)
	}
	for name, share := range map[string]float64{"p50": 0.5, "p99": 0.99} {
		took := float64(at(measured, share))
		f.b.ReportMetric(took/float64(at(f.written["trip-"], share)), name+"/trips")
		if f.kept != nil {
			f.b.ReportMetric(took/float64(at(f.written["disks-"], share)), name+"/disks")
		}
	}
}

func reportSpread(b *testing.B, name string, all []time.Duration) {
	b.Helper()
	slices.Sort(all)
	for unit, share := range map[string]float64{"p50-ms": 0.5, "p99-ms": 0.99, "max-ms": 1} {
		b.ReportMetric(float64(at(all, share).Microseconds())/1000, name+unit)
	}
}

// at is what so large a share of them, which are sorted, are below.
func at(all []time.Duration, share float64) time.Duration {
	return all[min(int(share*float64(len(all))), len(all)-1)]
}

// disk is a file to which little is written at a time, durably: at its end, or round and round.
type disk struct {
	b         *testing.B
	f         *os.File
	at, round int64
}

func newDisk(b *testing.B) *disk {
	b.Helper()
	f, err := os.Create(filepath.Join(b.TempDir(), "floor"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = f.Close() })
	return &disk{b: b, f: f}
}

const small = 300

func (d *disk) write() time.Duration {
	start := time.Now()
	_, err := d.f.WriteAt(make([]byte, small), d.at)
	if err = errors.Join(err, syscall.Fdatasync(int(d.f.Fd()))); err != nil {
		d.b.Error(err)
	}
	if d.at += small; d.round > 0 {
		d.at %= d.round - small
	}
	return time.Since(start)
}

// way is a connection as nodes have them between each other, through a relay if it is long.
type way struct {
	b    *testing.B
	from *tls.Conn
}

func newWay(x *apart, delay time.Duration, port int) *way {
	b := x.b
	b.Helper()
	end, err := net.Listen("tcp", fmt.Sprintf("127.0.0.11:%d", port))
	if err != nil {
		b.Fatal(err)
	}
	defer end.Close()
	addr := end.Addr().String()
	if delay > 0 {
		addr = fmt.Sprintf("127.0.1.11:%d", port)
		newRelay(b, delay).tcp(addr, end.Addr().String())
	}
	from, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	to, err := end.Accept()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _, _ = from.Close(), to.Close() })
	identity := x.nodes[0].identityOf(x.nodes[0].certs.Held())
	go func() {
		answering := tls.Server(to, identity.Accepting())
		_, _ = io.Copy(answering, answering) // until it is closed
	}()
	w := &way{b: b, from: tls.Client(from, identity.Dialing(""))}
	if err := w.from.Handshake(); err != nil {
		b.Fatal(err)
	}
	return w
}

func (w *way) trip() time.Duration {
	start := time.Now()
	_, err := w.from.Write(make([]byte, small))
	if err == nil {
		_, err = io.ReadFull(w.from, make([]byte, small))
	}
	if err != nil {
		w.b.Fatal(err)
	}
	return time.Since(start)
}
