package limiter

import (
	"time"

	"veto/record/limit"
)

const (
	// drawFor is for how many seconds is drawn at once, and drawAt when: before there is less left
	// than is used in so many.
	drawFor, drawAt = 10, 2
	// drawAgain is how often it is tried of a quota that is exhausted.
	drawAgain = int64(5 * time.Second)
	// parts is how much of what is left all nodes together have drawn at once, at most: one in so many.
	// It is what is lost if they are all killed.
	parts = 10
)

// Drawing is what is to be drawn of quotas at once, and of which entries it is.
type Drawing struct {
	Draws   []limit.Draw
	entries []*entry
}

// Draws gives what is to be drawn of quotas in the round that was begun. At the end, what was drawn
// and not used goes back.
func (l *Limiter) Draws(now time.Time, end bool) []Drawing {
	at, nodes := l.at(now), l.nodes.Load()
	if end {
		l.current = l.all()
	}
	var all []Drawing
	for _, e := range l.current {
		draw, ok := e.draw(at, nodes, end)
		if !ok {
			continue
		}
		if len(all) == 0 || len(all[len(all)-1].Draws) == limit.MaxDraws {
			all = append(all, Drawing{})
		}
		d := &all[len(all)-1]
		d.Draws, d.entries = append(d.Draws, draw), append(d.entries, e)
	}
	return all
}

func (e *entry) draw(at int64, nodes int32, end bool) (limit.Draw, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	w := &e.window
	d := limit.Draw{Key: e.key, Window: w.start, Parts: uint32(parts * nodes), Spent: uint64(max(-w.left, 0))}
	if w.quota == (limit.Quota{}) {
		return d, false
	}
	if end || at-e.rested >= leaves {
		if w.left > 0 {
			d.Back, w.left = uint64(w.left), 0
		}
		return d, d.Back > 0 || d.Spent > 0
	}
	if d.Spent == 0 && (float64(w.left) >= e.demand*drawAt || w.pool <= 0 && at-w.tried < drawAgain) {
		return d, false
	}
	part := float64(max(w.pool/int64(d.Parts), 1))
	d.Want = uint64(max(min(e.demand*drawFor, part)-float64(max(w.left, 0)), 0))
	w.tried = at
	return d, d.Want > 0 || d.Spent > 0
}

// Drawn takes in what came of a drawing.
func (l *Limiter) Drawn(d Drawing, drawn []limit.Drawn) {
	if len(drawn) != len(d.entries) {
		return
	}
	for i, e := range d.entries {
		e.drawn(d.Draws[i], drawn[i])
	}
}

func (e *entry) drawn(d limit.Draw, drawn limit.Drawn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.window.start == d.Window {
		e.window.know(drawn.Used)
		e.window.left += int64(d.Spent + drawn.Granted)
	}
}

// NotDrawn takes in that a drawing was not done. Whoever cannot tell whether it was says neither:
// then what was to go back is lost, and what was used ahead is counted again.
func (l *Limiter) NotDrawn(d Drawing) {
	for i, e := range d.entries {
		e.notDrawn(d.Draws[i])
	}
}

func (e *entry) notDrawn(d limit.Draw) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.window.start == d.Window {
		e.window.left += int64(d.Back)
	}
}
