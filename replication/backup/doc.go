// Package backup is the form of a backup's file: whose state it holds, as of when, the state itself as
// room store writes it, and a SHA-256 over all of it. It neither encrypts nor knows what is in a state.
//
// The form: magic and version, then the header with its length in front, then the state in chunks,
// each with its length in front, a chunk of no bytes, and the sum of all bytes before it. Nothing
// follows. So what was cut is known to be cut wherever that was, and a reader needs to know no size.
//
// Promises:
//
//	K1  A file that was cut, changed or extended anywhere is refused, and never taken for whole.
//	    TestEveryByteCounts, TestEveryCutIsSeen, FuzzOpen
//	K2  Reading and writing take a bounded amount of memory, however large the state or wrong the file.
//	    TestLongLengthsAreRefused
package backup
