package notices

import (
	"bufio"
	"context"
	"errors"
	"net"
	"time"
)

// readerBytes is what is read at once of a connection.
const readerBytes = 16 << 10

// accept hears whoever connects. Of a node that connects again only the newest connection is heard: so there are no
// more than nodes.
func (n *Notices) accept() {
	for {
		c, from, err := n.peers.AcceptNotices(n.ctx)
		if err != nil {
			return // it is closed, or the listener is
		}
		n.mu.Lock()
		former := n.heard[from]
		n.heard[from] = c
		n.mu.Unlock()
		if former != nil {
			_ = former.Close()
		}
		n.wg.Go(func() {
			err := n.hear(c)
			_ = c.Close()
			n.mu.Lock()
			if n.heard[from] == c {
				delete(n.heard, from)
			}
			n.mu.Unlock()
			n.log.Debug("a node is heard no more until it connects again", "node", from, "error", err)
		})
	}
}

// hear hands on what comes until the connection fails, or nothing comes for too long.
func (n *Notices) hear(c net.Conn) error {
	defer context.AfterFunc(n.ctx, func() { _ = c.Close() })()
	r := reader{from: bufio.NewReaderSize(c, readerBytes)}
	answered := time.Now()
	for {
		if err := c.SetDeadline(time.Now().Add(silence)); err != nil {
			return err
		}
		b, err := r.next()
		if errors.Is(err, errTooLong) {
			n.counts.unread.Add(1)
		}
		if err != nil {
			return err
		}
		if len(b) > 0 {
			n.take(b)
		}
		if len(b) > 0 && time.Since(answered) < pingEvery { // a ping may wait behind much that is told
			continue
		}
		if _, err := c.Write(pong[:]); err != nil {
			return err
		}
		answered = time.Now()
	}
}

// take hands on a word. What cannot be read is counted and dropped.
func (n *Notices) take(b []byte) {
	w, ok := parse(b)
	if !ok {
		n.counts.unread.Add(1)
		return
	}
	n.counts.received.Add(1)
	if w.Notice != nil {
		n.handlers.Notice(*w.Notice)
	}
	if w.Beacon != nil {
		n.handlers.Beacon(*w.Beacon)
	}
}
