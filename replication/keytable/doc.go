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
//	    TestRememberedIsLookedUp
package keytable
