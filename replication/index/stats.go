package index

import "veto/record"

// Stats are numbers for people who watch.
type Stats struct {
	Revocations, Keys, Consumers, Issuers int
	Notices                               int
	NoticesDropped                        uint64
	Classes                               []ClassStats // those of which there are revocations, or were
	Settled                               Settled
}

// ClassStats are those of one class of names.
type ClassStats struct {
	Class record.Class
	// Revocations are exact with a table, but for those that another covers; without they are
	// about as many names as there are.
	Revocations int
	// Filtered tells that the class has a filter only, and no table. Unread tells that the node has
	// started and not yet read what there is, so that every look-up is settled on disk.
	Filtered, Unread bool
	// Bytes that table and filters take of memory, and those of the filter that is asked.
	Bytes, FilterBytes int
}

// Settled is how often a filter said maybe, and what the disk said then.
type Settled struct{ Yes, No, Failed uint64 }

// Stats may be called from anywhere.
func (x *Index) Stats() Stats {
	t := x.tables.Load()
	s := Stats{
		Keys: t.keys.Size(), Consumers: t.consumers.Size(), Issuers: len(t.trusted.Load().issuers),
		Notices: int(x.overlay.count.Load()), NoticesDropped: x.overlay.dropped.Load(),
		Settled: Settled{Yes: x.settled.yes.Load(), No: x.settled.no.Load(), Failed: x.settled.failed.Load()},
	}
	for c := range t.classes() {
		one := ClassStats{Class: c.number, Revocations: c.size(), Filtered: c.shown.Load().exact == nil, Unread: c.unread(), Bytes: c.bytes(), FilterBytes: c.shown.Load().filter.bytes()}
		s.Classes = append(s.Classes, one)
		s.Revocations += one.Revocations
	}
	return s
}
