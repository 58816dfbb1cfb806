package trail

import "fmt"

// Broken says which entry is the first that is not as it was made, and why.
type Broken struct {
	// Entry is its place, as its own bytes have it; empty if none can be named.
	Entry string
	Line  int // in an export; 0 if it is in none
	Why   string
}

func (b *Broken) Error() string {
	where := ""
	if b.Entry != "" {
		where = "entry " + b.Entry + ": "
	}
	if b.Line > 0 {
		where = fmt.Sprintf("line %d: %s", b.Line, where)
	}
	return where + b.Why
}

// Chain follows a chain from its first entry on.
type Chain struct {
	// Head is the last entry that was added.
	Head Head
	// Before are the entries from before the chain began.
	Before uint64

	last  Entry
	wants []wanted
}

// wanted is a head that the chain must come by.
type wanted struct {
	Head
	found bool
}

// Expect makes Close look whether the chain came by a head that was written down.
func (c *Chain) Expect(h Head) { c.wants = append(c.wants, wanted{Head: h}) }

// Add takes the next entry. The error is a *Broken.
func (c *Chain) Add(e Entry) error {
	broken := func(why string, args ...any) error {
		return &Broken{Entry: e.Place(), Why: fmt.Sprintf(why, args...)}
	}
	if l := c.last; c.Before+c.Head.Sequence > 0 && (e.Revision < l.Revision || e.Revision == l.Revision && e.Number <= l.Number) {
		return broken("comes after entry %s: entries were swapped or put in", l.Place())
	}
	if e.Sequence == 0 && e.Hash == (Hash{}) && c.Head.Sequence == 0 {
		c.Before, c.last = c.Before+1, e
		return nil
	}
	switch next := c.Head.Sequence + 1; {
	case e.Sequence == next:
	case e.Sequence > next && c.Head.Sequence == 0:
		return broken("is number %d of the chain: the first %d are missing", e.Sequence, e.Sequence-1)
	case e.Sequence > next:
		return broken("is number %d of the chain and follows number %d: %d are missing between", e.Sequence, c.Head.Sequence, e.Sequence-next)
	default:
		return broken("is number %d of the chain and follows number %d: it was put in, or its number altered", e.Sequence, c.Head.Sequence)
	}
	head, stored := c.Head, e.Hash
	if _, err := head.Next(&e); err != nil {
		return broken("cannot be hashed: %v", err)
	}
	if e.Hash != stored {
		return broken("its hash is not that of what it says and of what is before it: it was altered, or made anew after something before it was")
	}
	c.Head, c.last = head, e
	for i, w := range c.wants {
		c.wants[i].found = w.found || w.Hash == head.Hash && w.Revision == head.Revision
	}
	return nil
}

// Close is called after the last entry. The error is a *Broken.
func (c *Chain) Close() error {
	for _, w := range c.wants {
		switch {
		case w.found:
		case c.Head.Revision < w.Revision:
			return &Broken{Why: fmt.Sprintf("the trail ends at revision %d, before the head %s: entries were cut off", c.Head.Revision, w.Head)}
		default:
			return &Broken{Why: fmt.Sprintf("the trail does not hold the head %s: up to revision %d it is not the one that this head was written down of", w.Head, w.Revision)}
		}
	}
	return nil
}
