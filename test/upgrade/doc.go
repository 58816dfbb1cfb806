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
//	V2  What an older version does not know, or does in another way, is refused, or goes on in its way, until no node runs
//	    it: a level that comes must be asked for here. The last version in PREVIOUS has the newest, so now there is nothing to ask.
//	    TestNewestLevelIsAskedFor
//	V3  A node of the previous version does not come into a cluster that has left it behind.
//	    TestRollingUpgrade
package upgrade
