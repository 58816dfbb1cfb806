// Package feed keeps, as part of the state, what other systems are told, and reads it back: so that
// whoever missed something can ask for it, at any node, for two days.
//
// What happened at a revision is written in the same batch as the change itself, as references: it
// costs one write whatever its size. A reader looks the records up. It is told of what has gone since
// as well, though not of all that it was.
//
// It knows no NATS and no HTTP, and follows nothing by itself.
//
// Promises:
//
//	F1  The same log gives the same entries, numbers and marks, byte for byte, and what changed is
//	    told once, in its order.
//	    TestEntriesAreDeterministic, TestFeedsCount
//	F2  Read from any place on, in pages of any size, nothing is left out and nothing comes twice.
//	    TestReadInPages
//	F3  An entry is kept for 48 hours at least, whatever the leaders' clocks did. Who asks for what
//	    is dropped is told so, and never given what came after it as if it were all.
//	    TestKeptForTwoDays, TestDroppedIsSaid
package feed
