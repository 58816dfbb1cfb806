package bench

import (
	"bufio"
	"context"
	"net"
	"time"
)

// connection sends requests one after the other until there are no more, over one connection at a time.
func (r *run) connection(ctx context.Context, i int) {
	c := &connection{run: r, address: r.Addresses[i%len(r.Addresses)], tally: &r.tally[i%shards]}
	defer c.close()
	wake := make(chan int64, 1)
	for {
		n := r.schedule.take(wake)
		if n < 0 || ctx.Err() != nil {
			if n >= 0 {
				c.tally.unanswered(r, n)
			}
			return
		}
		due := time.Now()
		if r.Rate > 0 {
			due = r.schedule.at(n)
		}
		c.ask(ctx, n, due)
	}
}

// connection is one of a run. It belongs to one goroutine.
type connection struct {
	run     *run
	address string
	tally   *tally

	conn   net.Conn
	uncut  func() bool
	reader *bufio.Reader
	answer answer
	room   []byte
}

// ask sends a request and waits for its answer.
func (c *connection) ask(ctx context.Context, n int64, due time.Time) {
	sent, err := c.exchange(ctx, n)
	counts := !due.Before(c.run.counted) && due.Before(c.run.end)
	switch {
	case err == nil && !counts:
	case err == nil:
		good := c.run.Good == nil || c.run.Good(c.answer.status, c.answer.body)
		c.tally.answered(c.answer.status, good, time.Since(due), sent.Sub(due))
	case ctx.Err() != nil:
		c.tally.unanswered(c.run, n)
	case counts:
		c.tally.failed(err, time.Since(due))
	}
	if err != nil || c.answer.closes {
		c.close()
	}
	if err != nil {
		select { // a server that is gone is not asked as fast as it refuses
		case <-ctx.Done():
		case <-time.After(redialAfter):
		}
	}
}

func (c *connection) exchange(ctx context.Context, n int64) (sent time.Time, err error) {
	if c.conn == nil {
		if err := c.open(ctx); err != nil {
			return time.Now(), err
		}
	}
	request := c.run.Request(n, c.room[:0])
	sent = time.Now()
	if _, err := c.conn.Write(request); err != nil {
		return sent, err
	}
	return sent, c.answer.read(c.reader)
}

func (c *connection) open(ctx context.Context) error {
	conn, err := c.run.dial(ctx, c.address)
	if err != nil {
		return err
	}
	c.conn = conn
	c.uncut = context.AfterFunc(ctx, func() { _ = conn.Close() })
	if c.reader == nil {
		c.reader, c.room = bufio.NewReaderSize(conn, 4<<10), make([]byte, 0, 1<<10)
	}
	c.reader.Reset(conn)
	return nil
}

func (c *connection) close() {
	if c.conn != nil {
		c.uncut()
		_ = c.conn.Close()
		c.conn = nil
	}
}
