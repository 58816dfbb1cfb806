// Package pepper makes the hashes by which API keys are stored, and keeps the secrets that they are
// made with: the cluster's peppers.
//
// A key's hash is HMAC-SHA-256 over the SHA-256 of its secret, keyed with a pepper; or over such a
// hash, keyed with the next pepper, and so on: a record.Chain says by which. So a key gets another
// pepper though nobody knows its secret. The peppers are records of the log, wrapped with AES-256-GCM
// by a key that the operator gives each node; the state machine never sees one that is not. Whoever
// has the disks, the log or a snapshot, and not that key, cannot tell whether a secret that he guesses
// is one of a key.
//
// The Keeper runs where the cluster is led. It makes the first pepper once every node has the key that
// wraps it, wraps all peppers anew when every node has a newer one, and has the keys hashed by the
// newest pepper. It decides nothing about which hashes hold: the machine does.
//
// Promises:
//
//	W1  What is wrapped is read back with the key that wrapped it, for the cluster and as the pepper
//	    that it was wrapped as, and not otherwise.
//	    TestWrappedIsReadBack, FuzzUnwrap
//	W2  A key file has one key, or two with the new one first; all else is refused, and not repeated.
//	    TestKeyFile
//	W3  A hash is HMAC-SHA-256 over HMAC-SHA-256, and making one allocates nothing.
//	    TestSumIsNestedHMAC
//	W4  A pepper that cannot be unwrapped locks all, until it is wrapped by a key that is here.
//	    TestPeppersAreLocked
//	W5  There is no pepper before every node can read it, and none is wrapped by a key that one lacks.
//	    TestKeeperWaitsForAllNodes
//	W6  Keys that take the place of those that a node has unwrap what those unwrap.
//	    TestKeysAreTaken
package pepper
