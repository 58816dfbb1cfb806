package trail

import (
	"fmt"

	"veto/record"
)

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

// ActionCut is that of the entry which says that older ones were removed. Its first ref is the Head of the last of them.
const ActionCut = "cut_audit"

// Chain follows a chain from its first entry on, or from where it was cut.
type Chain struct {
	// Head is the last entry that was added.
	Head Head
	// Before are the entries from before the chain began.
	Before uint64

	began record.Revision // of the first entry that was added
	last  Entry
	wants []wanted
	// Of a chain that was cut: the last entry that was removed, and whether an entry says so.
	anchor Head
	said   bool
}

// After makes the chain begin behind an entry, as all through that were removed. Called before all else.
func (c *Chain) After(anchor Head) {
	c.Head, c.anchor = anchor, anchor
	c.last = Entry{Revision: anchor.Revision, Number: anchor.Number}
}

// wanted is a head that the chain must come by.
type wanted struct {
	Head
	found bool
}

// Expect makes Close look whether the chain came by a head that was written down.
func (c *Chain) Expect(h Head) {
	c.wants = append(c.wants, wanted{Head: h, found: c.anchor.Sequence > 0 && h.Hash == c.anchor.Hash && h.Revision == c.anchor.Revision})
}

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
	if c.Head.Sequence == c.anchor.Sequence {
		c.began = e.Revision
	}
	c.Head, c.last = head, e
	c.said = c.said || e.Action == ActionCut && e.By == "" && len(e.Refs) > 0 && e.Refs[0] == c.anchor.String()
	for i, w := range c.wants {
		c.wants[i].found = w.found || w.Hash == head.Hash && w.Revision == head.Revision
	}
	return nil
}

// Close is called after the last entry. The error is a *Broken.
func (c *Chain) Close() error {
	if c.anchor.Sequence > 0 && !c.said {
		return &Broken{Why: fmt.Sprintf("the trail begins behind %s, and no entry of it says that it was cut there: its beginning was taken away", c.anchor)}
	}
	for _, w := range c.wants {
		switch {
		case w.found:
		case w.Revision < c.anchor.Revision:
			return &Broken{Why: fmt.Sprintf("the head %s is of what was removed since, as it was older than it is kept: whether that was whole cannot be told any more; give one behind revision %d", w.Head, c.anchor.Revision)}
		case c.Head.Revision < w.Revision:
			return &Broken{Why: fmt.Sprintf("the trail ends at revision %d, before the head %s: entries were cut off", c.Head.Revision, w.Head)}
		default:
			return &Broken{Why: fmt.Sprintf("the trail does not hold the head %s: up to revision %d it is not the one that this head was written down of", w.Head, w.Revision)}
		}
	}
	return nil
}
