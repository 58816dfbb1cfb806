package limiter

import (
	"math"
	"time"

	"veto/record/limit"
)

// Drawing is what is to be drawn of quotas at once, and of which windows it is.
type Drawing struct {
	Draws   []limit.Draw
	windows []*window
}

// Draws gives what is to be drawn of quotas now, after Begin. At the end, what was drawn and not
// used goes back.
func (l *Limiter) Draws(now time.Time, end bool) []Drawing {
	at, nodes := int64(now.Sub(l.config.Now)), l.nodes.Load()
	var all []Drawing
	var d Drawing
	for _, e := range l.actives() {
		w := e.window.Load()
		if w == nil || now.Unix() >= w.end {
			continue // what is over needs no settling
		}
		draw, ok := w.draw(e, at, nodes, end)
		if !ok {
			continue
		}
		d.Draws, d.windows = append(d.Draws, draw), append(d.windows, w)
		if len(d.Draws) == limit.MaxDraws {
			all, d = append(all, d), Drawing{}
		}
	}
	if len(d.Draws) > 0 {
		all = append(all, d)
	}
	return all
}

func (w *window) draw(e *entry, at int64, nodes int32, end bool) (limit.Draw, bool) {
	left := w.left.Load()
	d := limit.Draw{Key: e.key, Window: w.start, Parts: uint32(parts * min(max(nodes, 1), math.MaxInt32/parts)), Spent: uint64(max(-left, 0))}
	if end || at-e.rested >= leaves {
		if left > 0 && w.left.CompareAndSwap(left, 0) {
			d.Back = uint64(left)
		}
		return d, d.Back > 0 || d.Spent > 0
	}
	wanted := func(seconds uint64) int64 { return int64(min((e.demand*seconds+999)/1000, limit.MaxQuota)) }
	refused := w.refused.Load()
	if left >= max(wanted(drawAt), refused, 1) && left >= 0 {
		return d, false
	}
	if w.pool.Load() <= 0 && d.Spent == 0 && at-w.drawn < drawAgain {
		return d, false
	}
	if d.Spent == 0 && e.demand == 0 && refused == 0 {
		return d, false
	}
	w.drawn = at
	w.refused.Store(0)
	d.Want = uint64(max(wanted(drawFor), refused) - max(left, 0))
	return d, true
}

// Drawn takes in what came of a drawing.
func (l *Limiter) Drawn(d Drawing, drawn []limit.Drawn) {
	if len(drawn) != len(d.windows) {
		return
	}
	for i, w := range d.windows {
		w.know(w.quota.Requests - min(drawn[i].Used, w.quota.Requests))
		w.left.Add(int64(d.Draws[i].Spent + drawn[i].Granted))
	}
}

// NotDrawn takes in that a drawing was not done. Whoever cannot tell whether it was says neither:
// then what was to go back is lost, and what was used ahead is counted again.
func (l *Limiter) NotDrawn(d Drawing) {
	for i, w := range d.windows {
		w.left.Add(int64(d.Draws[i].Back))
	}
}
