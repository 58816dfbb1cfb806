// Package outbox keeps the revocations that this node has taken until the log has them.
//
// That something is about to be taken is told while the disk writes it; that it was, once it is durable.
// It is then proposed for as long as it takes: through the loss of leaders, of the quorum, and of this process. It asks nobody whether a
// revocation is right, and does not enforce it: see Replica.Revoke in room replication.
//
// One goroutine keeps: it makes durable, at once, all that came in while it did the same for
// those before. One delivers: it proposes what is kept, oldest first, one proposal at a time, so
// that the log needs no more than a number to know what it has of this outbox. After one of several it rests a
// moment, until as many have come: so proposals are few where there are many writers.
//
// Queues. What waits to be made durable is bounded by queueLength: a caller waits for room. What
// waits to be delivered, in all outboxes of the node, is bounded by MaxPending: over that nothing is
// taken, and the caller is told so.
//
// Promises:
//
//	P7  What was taken is on disk, and in the log in the end, once: whatever fails meanwhile.
//	    TestTakenIsDeliveredOnce
//	O1  Nothing is told to be taken before it is durable, and all in the order of the numbers.
//	    TestKeptBeforeTold
//	O2  A full outbox takes nothing more, and what it has taken is not lost.
//	    TestFullOutbox, TestFullOutboxes
//	O3  No number is given of which this process does not know that the log has not passed it: what a node takes
//	    whose directory was put back from an older copy comes into the log, too.
//	    TestOldCopyLosesNothing, TestTakenBeforeItIsKnown, TestWaitsUntilItIsKnown,
//	    TestOldDataDirectoryLosesNothing in room node
//	O4  Nothing writes to the disk after Close, and what the log brings never waits for the disk.
//	    TestCloseRefusesWhoWaits, TestCloseEndsARest, TestDeliveredDoesNotWaitForTheDisk
//	O5  Who are answered together, and come again in four times as long as that took, go into one proposal, as soon as all
//	    have come; and who comes alone waits for no other, but for the rest of those before, 25 ms at most.
//	    TestAnsweredTogetherProposedTogether, TestRestEnds, TestWhoDoesNotComeBackIsNotWaitedFor
package outbox
