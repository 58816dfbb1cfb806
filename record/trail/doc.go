// Package trail is the audit trail's form: entries that say who changed what, when and from where,
// the chain of hashes through them, and the lines in which they are exported.
//
// Each entry holds the SHA-256 over the hash of the one before it and its own bytes. So whoever
// wrote down one hash can tell later whether anything before it was altered, removed, moved or
// put in. What nobody wrote down can be made anew as a whole by someone who holds the disks: the
// chain is worth what is kept of it outside.
//
// It is pure, as record is. It does not make entries (replication/machine does) nor read them from
// anywhere.
//
// Promises:
//
//	T1  An entry that is altered, dropped, swapped with another, put in or cut off is found, and the
//	    first that is wrong is named.
//	    TestAnyAlterationIsFound, TestCutOffIsFound
//	T2  What is exported is read back as it was, or refused; a chosen part is never taken for the
//	    whole.
//	    TestLinesAreStrict, TestChosenPartIsNoChain, FuzzVerify
//	T3  Entries from before the chain are told, and do not pass for part of it.
//	    TestEntriesFromBefore
//	T4  A trail whose oldest entries were removed is followed from there on, if an entry of it says that it was
//	    cut at that very place; what cannot be told any more is said, and not taken for told.
//	    TestTrailThatWasCut, TestCutWhileItIsExported
package trail
