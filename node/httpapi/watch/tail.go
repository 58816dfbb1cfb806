package watch

import (
	"cmp"
	"encoding/json"
	"slices"
	"sync"

	"veto/record/event"
)

// What the tail keeps at most: what all streams but those that are far behind need next.
const (
	tailPieces = 4096
	tailBytes  = 4 << 20
)

// tail is what happened last, ready to be sent. Streams that follow what happens are all at the same place or
// near it: without it each would read and encode every event for itself, and as many streams would cost as
// many times the work.
type tail struct {
	source Source

	// mu is held while the source is read: whoever waits for it wants just that.
	mu sync.Mutex
	// Pieces are all that happened behind from, up to at.
	from, at event.ID
	pieces   []piece
	bytes    int
	more     bool // there may be more at the revision of at
}

// page is what comes next on a stream, and the place up to which that goes.
type page struct {
	pieces []piece
	at     event.ID
	more   bool // and there may be more at once
}

// piece is one event as it is sent.
type piece struct {
	id   event.ID
	kind event.Type
	text []byte
}

func pieceOf(f *event.Fact, cluster string) (piece, error) {
	e, err := f.Event(cluster)
	if err != nil {
		return piece{}, err
	}
	data, err := json.Marshal(e)
	if err != nil {
		return piece{}, err
	}
	text := make([]byte, 0, len(data)+len(e.ID)+len(e.Type)+24)
	text = append(text, "id: "+e.ID+"\nevent: "+string(e.Type)+"\ndata: "...)
	text = append(append(text, data...), "\n\n"...)
	return piece{f.ID, f.Type(), text}, nil
}

func piecesOf(facts []event.Fact, cluster string) ([]piece, error) {
	out := make([]piece, len(facts))
	for i := range facts {
		var err error
		if out[i], err = pieceOf(&facts[i], cluster); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// behind gives up to pageLimit pieces behind a place. Far says that the place is before all that is kept here,
// and that nothing was read.
func (t *tail) behind(after event.ID) (p page, far bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if order(after, t.from) < 0 {
		return p, true, nil
	}
	if err := t.reach(after); err != nil {
		return p, false, err
	}
	if after == t.at {
		if err := t.extend(); err != nil {
			return p, false, err
		}
	}
	i, _ := slices.BinarySearchFunc(t.pieces, after, func(p piece, id event.ID) int {
		if order(p.id, id) <= 0 {
			return -1
		}
		return 1
	})
	if len(t.pieces)-i > pageLimit {
		p.pieces = slices.Clone(t.pieces[i : i+pageLimit])
		p.at, p.more = p.pieces[pageLimit-1].id, true
		return p, false, nil
	}
	return page{slices.Clone(t.pieces[i:]), t.at, t.more}, false, nil
}

// reachPages is how far the tail goes on to a place that is ahead of it, rather than begin anew there, which would
// leave all that follow it behind.
const reachPages = 8

// reach has the tail hold what comes next at the place; called with the lock held.
func (t *tail) reach(after event.ID) error {
	for n := 0; order(after, t.at) > 0 && t.at != (event.ID{}) && n < reachPages; n++ {
		before := t.at
		if err := t.extend(); err != nil {
			return err
		}
		if t.at == before {
			break
		}
	}
	if order(after, t.at) > 0 {
		t.from, t.at, t.pieces, t.bytes = after, after, nil, 0
	}
	return nil
}

// extend reads what is in force behind all that is kept; called with the lock held.
func (t *tail) extend() error {
	facts, at, err := t.source.Events(t.at, pageLimit)
	if err != nil {
		return err
	}
	more, err := piecesOf(facts, t.source.ClusterID())
	if err != nil {
		return err
	}
	t.pieces, t.at, t.more = append(t.pieces, more...), at, len(facts) == pageLimit
	for i := range more {
		t.bytes += len(more[i].text)
	}
	gone := 0
	for ; len(t.pieces)-gone > max(tailPieces, len(more)) || t.bytes > tailBytes && len(t.pieces)-gone > len(more); gone++ {
		t.from = t.pieces[gone].id
		t.bytes -= len(t.pieces[gone].text)
	}
	t.pieces = slices.Delete(t.pieces, 0, gone)
	return nil
}

// order is that in which events happen.
func order(a, b event.ID) int {
	return cmp.Or(cmp.Compare(a.Revision, b.Revision), cmp.Compare(a.Number, b.Number))
}
