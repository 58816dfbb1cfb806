// Package index holds in memory what every validation looks up: the revocations, the API keys
// by their hashes (replication/keytable), with the scopes that their roles grant them, the consumers,
// the issuers.
//
// One goroutine writes, the one that applies the log; any number read, without a lock. The
// index is a copy: the store has the truth, and Load builds the index from it. It decides
// nothing: a Hit is a rule that matches, and what follows is the reader's to say.
//
// Load reads all but the revocations, of which there may be many millions: these it leaves on disk, where
// they are looked up, at some 10 to 100 us for each token (the more, the more buckets there are, and while the
// files are not in the machine's cache), until they have been read beside the writer and the readers. So a node
// answers as soon after a start whatever number there is.
//
// Revocations are held by classes: digests of 128 bits, keyed with the cluster's secret. A class
// of which nothing was revoked costs a look-up one load. Any other has a Bloom filter, of 2 to 2.5
// bytes for each name, which rules most names out with one read of memory. What it does not rule
// out is settled by an open-addressing table without pointers, of 35 to 50 bytes for each rule;
// above Config.ExactMax the class has none, and the disk settles it, whose last answers are
// remembered. So the answers are exact either way.
//
// A filter is made from what is on disk, beside the writer and the readers, by a goroutine
// that the index owns: after Load, when it holds more than it has room for, and when much of what it
// holds has expired or was lifted. With it comes a table, if there is none and there are few enough.
// What is added meanwhile goes into what is shown and into what is being made; what is lifted is not
// taken from the disk any more; then one store shows the new to the readers. A filter that is too full
// says maybe more often, and that is all: so there is never more than one to ask.
//
// Notices are in an overlay beside the tables until the log has passed their revision. It
// holds up to MaxNotices revocations; over that a notice is dropped and counted.
//
// Promises:
//
//	P2  Notices only add denials. Lost, doubled, late, reordered: harmless.
//	    TestNoticesAreHarmless, TestNoticesOfOutboxesAreHarmless, TestUnkeptOnlyDenies, TestFirstOfLogAndNotices
//	P5  Who sees a revision sees all that it changed; the revision never goes back.
//	    TestRevisionIsRaisedLast, TestLoadNeverGoesBack, TestBrokenLoadChangesNothing
//	X1  What was applied is denied, what was not is not: in either mode the same, and the same
//	    after a Load.
//	    TestAgainstModel
//	X2  A look-up of a name that is not revoked does not allocate, once its class was read.
//	    TestMissDoesNotAllocate
//	X3  No reader ever gets a no for what is revoked, or a yes for what was lifted, while what is on disk is
//	    read, a table is dropped or a filter is made anew.
//	    TestReadBesideTheWriter, TestBuildingHidesNothing, TestNothingIsLostAtTheSwap
//	X4  A filter takes 2 to 3 bytes for each name, also when it has grown or much of it has gone,
//	    and asks the disk seldom for what is not revoked.
//	    TestFilterFollowsWhatThereIs
//	X5  When the disk cannot settle what a filter says, the answer is a denial.
//	    TestDiskErrorDenies
//	X6  A look-up says by what means it was answered.
//	    TestMeansAreTold
//	X7  What comes again costs the disk once, until something of its name changes.
//	    TestDiskIsAskedOnce
//	X8  What an outbox told of and the log lacks is given in its order, without gaps.
//	    TestUndelivered, TestUndeliveredFitsInACommand
//	X9  A key is found by the secrets that it has, and by none that it had.
//	    TestKeyIsFoundByItsSecrets
//	X10 A use of a key is told until it was, whatever becomes of the key's record meanwhile.
//	    TestUsesAreToldOnce
//	X11 Whether there are imported keys is told, and as soon as the first of them is found.
//	    TestImportedKeysAreCounted
//	X12 Load reads one revocation of each class and bucket, and no more; what it has not read is answered from
//	    the disk.
//	    TestStartReadsOneOfEach
package index
