// Package upgrade runs a cluster of the versions named in PREVIOUS, one after the other, and then the present one, made of
// real `veto serve` processes on this machine, through a rolling restart from each to the next, while
// clients revoke and validate. Nobody may get a wrong answer, and nothing that was answered may be lost.
//
// `make upgrade` runs it: it builds the other versions from the repository's history, which a shallow
// clone lacks.
//
// Promises:
//
//	V1  A cluster is upgraded node by node, by a stop or by kill -9, without a wrong or lost answer; logs
//	    and states of the previous version are read.
//	V2  What the previous version does not know is refused, and what it does in another way goes on as it does
//	    it, on every node until no node runs it. What that is changes with PREVIOUS, and a level that comes
//	    must be asked for.
//	    TestNewestLevelIsAskedFor
//	V3  A node of the previous version does not come into a cluster that has left it behind.
//	    TestRollingUpgrade
package upgrade
