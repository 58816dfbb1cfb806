// Package index holds in memory what every validation looks up: the revocations, the API keys
// by their hashes, the consumers, the issuers.
//
// One goroutine writes, the one that applies the log; any number read, without a lock. The
// index is a copy: the store has the truth, and Load builds the index from it. It decides
// nothing: a Hit is a rule that matches, and what follows is the reader's to say.
//
// Revocations are exact: 128-bit digests keyed with the cluster's secret, in open-addressing
// tables without pointers, about 45 bytes each. Of several revocations of one name the
// greatest cut-off and the latest bucket are kept, so that a name may be denied for as long
// as the longest of its rules is kept; no credential lives that long that would notice.
//
// Notices are in an overlay beside the tables until the log has passed their revision. It
// holds up to MaxNotices revocations; over that a notice is dropped and counted.
//
// Promises:
//
//	P2  Notices only add denials. Lost, doubled, late, reordered: harmless.
//	    TestNoticesAreHarmless
//	P5  Who sees a revision sees all that it changed; the revision never goes back.
//	    TestRevisionIsRaisedLast, TestLoadNeverGoesBack, TestBrokenLoadChangesNothing
//	X1  What was applied is denied, what was not is not.
//	    TestAgainstModel
//	X2  A look-up of a name that is not revoked does not allocate.
//	    TestMissDoesNotAllocate
package index
