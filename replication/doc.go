// Package replication orders commands, applies them on every node, and shows the result.
//
// A Replica is one node's part in the cluster: it takes commands on any node and brings them
// to the leader, applies what was committed to the store and the index, finds other nodes
// through gossip, and, while it leads, looks after membership and tells the others how far
// the log reaches. A View is what readers see. Its rooms: consensus (the log), machine (what
// a command means), store (on disk), index (in memory), pepper (what API keys'
// hashes are made with), keytable (API keys in memory), notices (what cannot wait for the
// log), broadcast (other systems), roster (who is there), peer (node-to-node calls).
//
// It does not decide whether a credential is good, speaks no HTTP to users, and reads no
// configuration.
//
// Promises (numbered as in the design):
//
//	P1   A notice comes from a committed entry, or from an outbox that goes on proposing it; but for one
//	     that says to be of what is only being written, which denies for seconds and does nothing else.
//	     TestNoticeComesFromACommittedEntry, TestRevokeWithoutQuorum in room node
//	P3   Records and applied index change in one batch; what is applied is skipped.
//	     TestAppliedEntriesAreSkipped
//	P5   A reader sees the index raised only after the records; a restore never shows a
//	     lower revision.
//	     TestReadersSeeRecordsBeforeTheRevision, TestLoadNeverGoesBack in room index
//	     The record that denies is found, whichever of several: TestRevokedFindsTheRecord
//	P6   After a receipt with revision r, a node asked with min_revision >= r denies, or
//	     answers unknown; never allow.
//	     TestReceiptHoldsOnEveryNode in room node
//	     It tells of what stands, by the log alone: TestStandsWhatIsKeptLongest,
//	     TestStandsThoughOthersTellOfIt, TestReceiptTellsWhatStands and
//	     TestSameRequestAtOnceHasOneReceipt in room node
//	P7   What was answered as pending comes into the log once, by the node that took it or, if
//	     that does not, by another that was told of it.
//	     TestRevokeWithoutQuorum, TestPendingOutlivesItsNode, TestOldDataDirectoryLosesNothing in room node
//	     The node that took it denies it whenever it is ready, though it lost its state: TestPendingDeniesOnceReady
//	     in room test/simulation
//	P9   Gossip advises; only the log changes the voters. A node without the cluster's
//	     certificate can neither join, propose nor notify.
//	     TestStrangerCannotJoin in room node, and the tests of peer and notices
//	     The voters of a new cluster vote from its beginning: who is late is waited for, and is not taken for one
//	     that lost its disk.
//	     TestVotersOfANewClusterWaitForEachOther in room test/simulation, TestEmptyVoterDoesNotVote in room node,
//	     TestVoterThatLostItsDiskIsDemoted in room test/simulation
//	P10  A restarted node is not ready until it has applied what the leader reported as
//	     committed after its start.
//	     TestNotReadyBeforeTheFirstBeaconIsReached
//	P13  What a node reads as it starts is all that there is, in its order.
//	     TestRecordsAreReadAhead
//	P12  A revocation is kept long enough whatever the clock of who leads, if one of the voters that confirm
//	     it has the right time.
//	     TestForemostClockGoesOn, and make faults
//	     By the rules of now, also after a restore: TestRestoreBringsTheRules
//	P11  An unknown command stops the node, unless it may be skipped.
//	     TestUnknownCommandStopsTheNode, TestSkippableCommandIsSkipped, TestNewerLevelIsRefused
//	P14  While others wait for the log, parts of streams are small.
//	     TestStreamsMakeRoomForOthers
//	P15  What is applied at once, and so in memory before it is shown, is bounded.
//	     TestWhatIsAppliedAtOnceIsBounded
//	R1   A secret is good exactly while its key has it, whatever becomes of peppers meanwhile; the state
//	     holds no hash of it that can be made without a pepper, once there is one.
//	     TestSecretsAreGoodWhateverHappensToPeppers, TestStateHoldsNoPlainHash
//	R2   What was refused at a second try, while a first is lost, is not said to be undone.
//	     TestRefusedAfterALostTryIsUnknown
//	R3   A node that lacked the key of a pepper checks API keys as soon as it was given it.
//	     TestKeyThatComesLateUnlocks
//	S1   A search goes through all that it finds exactly once, while records are made and deleted, and
//	     reads a bounded number of them at a time.
//	     TestSearchIsWhole, TestSearchIsBounded, TestSearchByState
//	F1   Who hears of a change from a node finds it there.
//	     TestEachNodeTellsItsClients in room node
package replication
