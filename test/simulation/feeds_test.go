package simulation

import (
	"errors"
	"strings"

	"veto/record"
	"veto/record/event"
	"veto/replication/feed"
)

// feeds reads what happened, looks whether the events of each feed follow each other and are what subscribers were
// told, and counts how often what has a digest was revoked. All nodes have the same: see states.
func (s *simulation) feeds() map[record.Digest]int {
	n := s.net.whoIs(0)
	through := n.view.Freshness().Revision
	revoked := map[record.Digest]int{}
	last := map[bool]event.Fact{}
	s.heard.mu.Lock()
	defer s.heard.mu.Unlock()
	at, more, from := event.ID{}, true, record.Revision(0)
	for more {
		facts, next, err := feed.Read(n.store, at, through, 200)
		var dropped *feed.Dropped
		if errors.As(err, &dropped) && at == (event.ID{}) && s.plan.clocks {
			from = dropped.First - 1
			at.Revision = from
			continue
		}
		if err != nil {
			s.wrong("what happened behind %v cannot be read: %v", at, err)
			return nil
		}
		for _, f := range facts {
			of := strings.HasPrefix(string(f.Type()), "veto.key.")
			if before := last[of]; before.Sequence > 0 && (f.Sequence != before.Sequence+1 || f.Previous != before.ID.Revision) {
				s.wrong("event %v has number %d, behind %d; the one before was %v with number %d", f.ID, f.Sequence, f.Previous, before.ID, before.Sequence)
			}
			last[of] = f
			if told, ok := s.heard.all[f.ID]; ok && told != happeningOf(&f) {
				s.wrong("subscribers were told %+v of %+v", told, happeningOf(&f))
			}
			delete(s.heard.all, f.ID)
			if f.Type() == event.Revoked {
				revoked[f.Item.Ref.Digest]++
			}
		}
		at, more = next, len(facts) > 0
	}
	for id, told := range s.heard.all {
		if id.Revision > from {
			s.wrong("subscribers were told what has not happened: %+v", told)
		}
	}
	return revoked
}
