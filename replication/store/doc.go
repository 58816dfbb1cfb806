// Package store keeps the state on disk: records and the applied index, in one Pebble
// database, and moves whole states from node to node as a stream.
//
// It is the only room that knows Pebble. It does not know what a record means, but for what the
// keys of revocations and requests say. It keeps no log: an entry that was applied and is lost by a crash comes
// again from Raft's log, as long as the log is cut only behind what Sync made durable.
//
// In its directory: LOCK (held while open), CURRENT (the name of the live database), db-N (the
// databases; more than one only during a Restore). The outbox is a database in a directory of its own;
// identity.json, in the one that holds both, says whose data this is.
//
// Promises:
//
//	P3  Records and applied index change in one batch, and no marker outside it is believed.
//	    TestCrashKeepsRecordsAndAppliedTogether, TestStoreOnAFailingDisk, TestBatchIsAsItWasMade
//	P5  During Restore readers see the old state or the new one, never a mixture and never
//	    an error.
//	    TestReadersDuringRestore
//	P7  What the outbox has answered is on disk, though the disk fails at whatever comes next.
//	    TestOutboxOnAFailingDisk, TestOlderVersionGoesOnWithTheFirstOutbox
//	S1  A stream that was cut, changed or extended is refused and changes nothing.
//	    TestBrokenStreamIsRefused, FuzzRestore
//	S2  Two processes cannot open the same directory, nor a node another's.
//	    TestSecondProcessIsRefused, TestIdentity
//	S3  A revocation that is there is found. How keys are split into name and rest
//	    is part of the databases' form, and pinned.
//	    TestRevokedFindsWhatIsThere, TestComparerIsPinned
//	S4  A request that is there is found, whatever is known without a look at the disk; and those that are not
//	    there are mostly known, of days that began while the store was open.
//	    TestRequestsAreFound, TestRequestsAreNotLookedForInVain, TestDaysOfRequestsAreBounded
//	S6  What an outbox has removed costs it no memory, however often it removed something.
//	    TestWhatIsRemovedWeighsNothing
//	S5  On a full disk opening ends, says so, and changes nothing that is there.
//	    TestOpenOnAFullDisk
//	S7  Where the disk fails while a state comes, that is said and the process ends, or the stream is refused; the state that
//	    is there afterwards is the old one or the new one.
//	    TestRestoreOnAFailingDisk
package store
