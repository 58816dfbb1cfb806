// Package constant remembers values of the store that do not change while they are asked for: what revocations of streams have
// in common (record.Alike), which a list meets in no order. It decides nothing and writes nothing.
//
// What is remembered is bounded: imports of 64 to 256 million lines of one kind leave as much, in some 4 to 16 MiB. When there is
// more, all is forgotten, and read again.
//
// Promises:
//
//	A1  What is told is what the store has; what the store does not have, or cannot read, is asked for again.
//	    TestTellsWhatTheStoreHas
//	A2  What is remembered is bounded.
//	    TestForgets
package constant
