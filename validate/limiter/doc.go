// Package limiter counts what API keys with limits are used for on this node, and lets through what
// is in this node's share: of a rate by a bucket, of a quota by what was drawn of it. It asks
// nobody on the way of a validation. What shares there are it tells and is told in rounds, which
// the node carries to the others (node/limits).
//
// A bucket fills with this node's share of the rate: its floor and what it has leased. Of the burst it
// holds what goes with that, half of the whole, and an even part of the other half: so that whoever
// uses a key a little is not refused, wherever it asks; at one node alone not all of the burst is to be had. When a share grows, the bucket has no more in it than
// before; when it shrinks, what has no room is gone: so all nodes' buckets together never hold more
// than the burst, and fill no faster than the rate. A lease that runs out leaves the floor: that is
// what a node goes on with that is cut off. A node alone has all.
//
// Of a quota a node draws, through the log, about what ten seconds need, but all nodes together no
// more than a tenth of what is left at once; and they may use a twentieth ahead of drawing it. What a node has drawn and does not use it gives back after half a minute, and when it is
// closed. If it is killed, what it had drawn and not used is lost, and what it had used ahead since
// its last round is not counted.
//
// Only what is allowed is counted. Each key has one lock, held for as long as it takes to count; and
// while the disk is read, when a window of a quota begins. The times are arguments; they may come out
// of order. What is remembered is bounded: when there is no room for another key, nothing of it is
// let through.
//
// Promises:
//
//	G1  In no time does one bucket let through more than the burst and what the rate allows, and what
//	    one request costs beyond a share; whatever happens to the share meanwhile.
//	    TestBucketNeverExceedsItsLimit, TestManyAtOnce, TestReadingsOutOfOrder, TestNodesComeAndGo,
//	    TestCostsMoreThanTheShare
//	G2  Nodes together let through no more than the limit, and one request each; and, as long as
//	    enough is asked for, no less than nine tenths of it: under even, skewed, and changing
//	    load. Cut off from each other they let through less.
//	    TestClusterKeepsItsRate, TestLittleLoadIsNotRefused, TestBurstComesWithTheShare, TestWhatIsTold,
//	    TestNoAnswer
//	G3  A node's first request of a key is let through.
//	    TestFirstRequest
//	G4  A quota is never exceeded by more than is used ahead, of which TestQuotaIsKept has the bound;
//	    what was drawn and not used comes back. A new window begins with the whole quota.
//	    TestQuotaIsKept, TestCutOffUsesAhead, TestKilledNodeLosesWhatItHadDrawn, TestQuotaComesBack,
//	    TestWhatDoesNotGoBackGoesLater, TestNextWindow, TestDrawingOverMidnight, TestDrawsAreRare,
//	    TestExhaustedIsTriedAgain
//	G5  What is refused uses up nothing, of no limit; to look uses up nothing.
//	    TestRefusedUsesNothing
//	G6  Memory is bounded, and so are reports: beyond it keys are refused, and what rests makes room,
//	    but for what would come back otherwise.
//	    TestMemoryIsBounded, TestReportsAreBounded, TestWhatOwesIsNotForgotten
//	G7  A check allocates nothing.
//	    TestNoAllocation
//	G8  Limits that were changed hold from the next request on, and no bucket is filled by that.
//	    TestLimitsChange
package limiter
