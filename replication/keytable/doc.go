// Package keytable holds the API keys in memory and finds them by their secrets.
//
// One goroutine writes; any number read, without a lock. A key is held under the hashes of its secrets
// as they are stored, which are by chains of peppers (replication/pepper). Whoever looks for a key has
// the SHA-256 of its secret: the hashes of that by every chain that some key has are tried, the one
// of the newest pepper first. There are one or two chains but in the moments after a rotation, six at
// most. A secret that nobody has and a wrong one are the same thing: all chains are tried.
//
// A key that is given another hash is shown under the new one before it goes from the old one, and
// whoever looked in between looks again.
//
// A key is kept as a form: its record as bytes, written once into a chunk of an arena and never changed
// there. So a reader needs no lock, and texts of a record are read where they are, without a copy:
// whoever keeps one for long clones it, as it keeps a whole chunk. A slot leads from a hash to
// the form; a place, two words, stays with a key while its record changes, and has its uses; what keys
// have in common (scopes, roles, what binds operators' keys) is a set of replication/grants. The garbage
// collector has to look into the sets only.
//
// A changed key is a new form. A chunk of which a quarter is dead is given back: what lives in it is
// copied, and the collector frees it when no reader has it any more. What may be another's next, numbers
// of places, of sets and of chunks, is another's only when no slot leads to who had it: so a reader
// whose slot is still the same when it has read everything has read what belongs together.
//
// What the newest pepper makes of a secret that was found is remembered, for some thousands of secrets: a
// key that is used often costs no HMAC. Whether a key has that hash is looked up each time.
//
// Promises:
//
//	Y1  A key is found by its secrets whatever peppers their hashes are by, and at every moment while
//	    the hashes are changed.
//	    TestKeyIsFoundWhileItIsRehashed, TestKeyIsFoundByAnyChain
//	Y2  To look a secret up allocates nothing, whether a key has it or not.
//	    TestFindDoesNotAllocate
//	Y3  While a pepper cannot be unwrapped no key is found, and no hash of a new secret is made.
//	    TestLockedFindsNothing
//	Y4  A use of a key whose hash takes more than the newest pepper says how it would be found by that
//	    alone.
//	    TestUseShowsAShorterChain
//	Y5  What is remembered finds no key that has the secret no more, and is not driven out by others.
//	    TestRememberedIsLookedUp, TestOneOfTwoAtOnceIsRemembered
//	Y6  What is found is what was taken in. Bytes of what has changed or gone are given back: at most half
//	    of what lives, and a chunk, is had beside it; of a key that is gone only its place is kept, for
//	    the next.
//	    TestAgainstModel
//	Y7  A reader sees one state of one key, whatever is written or moved meanwhile.
//	    TestReadersSeeOneRecord, TestWhatWasMovedIsGone, TestLeavingKeysKeepTheirOwn
//	Y8  A use is noted for the key that was used, though its place is another's by then.
//	    TestPlacesAreOfOneKey
//	Y9  Once no key has a plain hash any more, none of a new secret leaves the node that made it.
//	    TestPlainHashIsNotLogged
//	Y10 The secret of a portal session is stored by the newest pepper, once all nodes look for it so, and
//	    found by whichever it was.
//	    TestSessionsArePeppered
//	Y11 The record that was given may be another's once it was taken in.
//	    TestGivenRecordIsNotKept
//	Y12 What a table is filled with at first is found as what is taken in later.
//	    TestFilledIsFound
package keytable
