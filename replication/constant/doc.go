// Package alike remembers what many revocations of a stream have in common, which the store keeps once (record.Alike): a list
// meets it in no order, and would read it again for each. It decides nothing and writes nothing.
//
// What is remembered is bounded: imports of some 64 million lines of one kind leave as much, in some 4 to 16 MiB. When there is more, all
// is forgotten, and read again.
//
// Promises:
//
//	A1  What is told is what the store has, which does not change; what the store does not have, or cannot read, is asked for again.
//	    TestTellsWhatTheStoreHas
//	A2  What is remembered is bounded.
//	    TestForgets
package alike
