// Package event is what other systems are told: what happened, one thing at a time, in the order of
// the log. An Entry is how the state keeps what happened at one revision, a Fact is one thing of it,
// and an Event is the form that leaves the cluster: a CloudEvent 1.0 in JSON.
//
// There are two feeds: of revocations made and lifted, and of API keys. Each counts its events, for
// good and the same on every node, so that whoever has seen n and then sees n+2 knows that something
// is missing, and what to ask for.
//
// It is as pure as package record. It neither keeps events nor sends them.
//
// Promises:
//
//	E1  What is kept of a revocation is as small as a reference, and is read back as it was
//	    written. Reading never panics, whatever the bytes.
//	    TestEntryComesBack, FuzzDecodeEntry
//	E2  The number of an event within its feed is the same wherever it is told, and counts on
//	    without a gap within an entry.
//	    TestFactsCountOn
//	E3  An event is a CloudEvent: the attributes that must be there are, and its sequence is in
//	    order as text.
//	    TestEventIsACloudEvent
package event
