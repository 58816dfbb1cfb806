// Package limit holds what the cluster agrees on about the limits of API keys, and what its nodes
// tell each other of them: how much a key may be used, how the shares of a rate are asked for and
// given, and how parts of a quota are drawn.
//
// It is pure, as record is. It does not count (validate/limiter), does not divide
// (replication/lease), and changes no counter (replication/machine).
//
// Promises:
//
//	N1  A limit reads as it is written, and what is out of its bounds is refused.
//	    TestLimitsReadAsWritten, TestBadLimits, FuzzReadLimits
//	N2  Windows of quotas are days and months of UTC, and follow each other without a gap.
//	    TestWindows, TestWindowsFollowEachOther
//	N3  What is drawn of a quota is never more than is left of it.
//	    TestDrawsStayWithinTheQuota
package limit
