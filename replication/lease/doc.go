// Package lease divides the rates of API keys among the nodes: the leader's part in it.
//
// Of every rate each node has a small share for good, its floor; all floors together are
// limit.Floors. The rest is leased: a node tells the leader every so often how much was asked for
// and what share it holds, and the leader answers with the share that it may hold for the next five
// seconds, in proportion to what is asked for on each node; if that is less than the rate, the rest is
// split evenly. What one node is to give up another gets
// only once the first has told that it holds less, or its lease has run out. A leader that is new does not
// know what was leased before it: it raises no share until every node has told what it holds, or
// those leases have run out. A leader grants nothing that has not heard of a majority for a second:
// so one that was frozen, and wakes when another leads, gives nothing twice.
//
// It takes the time as an argument, starts no goroutine, and knows no network: replication calls
// it. It counts no requests (validate/limiter does). Quotas are not its business: they are drawn
// from a counter in the log.
//
// Promises:
//
//	L1  The shares that nodes may hold never come to more than all but the floors, whatever is lost,
//	    late, or doubled on the way, and whoever leads.
//	    TestSharesNeverExceedTheWhole, TestLateReports, TestLostAnswer, TestNewLeaderRaisesNothing,
//	    TestNewLeaderWaitsForLeasesOfTheLast, TestUnconfirmedLeaderGrantsNothing
//	L2  The same reports in the same order give the same shares, in proportion to what is asked for.
//	    TestSharesFollowTheDemand, TestLittleDemandLeavesRoom, TestSharesRest, TestSameReportsSameShares
//	L3  A share that is not renewed is free again after its lease, and no earlier.
//	    TestLeaseRunsOut
//	L4  A burst comes with a share only if it has rested on all nodes.
//	    TestBurstHasRested
//	L5  What is remembered of a key goes when nobody holds a share of it and its burst is whole; and
//	    of no more than MaxKeys is anything remembered.
//	    TestForgets, TestLeasesAreBounded
package lease
