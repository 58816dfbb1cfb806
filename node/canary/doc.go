// Package canary revokes a token of the cluster's own every few seconds, in the way of every
// revocation, and measures when each other node denies it: how long revocations take here, as it
// is.
//
// The token is nobody's: a fresh jti of record.CanaryIssuer, which no issuer can have. It is taken
// by this node's outbox, told to the others and logged as any other, and forgotten within an hour
// or two.
//
// What is measured is the time from when this node has taken the revocation until it has another
// node's word that it denies it: that the name is found in its index, not only that a message came.
// Each is asked at once when the revocation was taken, over a connection that is kept: so the
// question is on its way together with the notice, and waits there for it. What is added to the
// time that nobody can see from here is the way of the answer back; so the figure is a bound from
// above, and of two nodes far from each other at most double. A node that cannot be asked is asked
// again every askAgain, which then adds as much. One that has not confirmed within longest has
// failed.
//
// The room judges nothing and shows nothing: see GET /v1/cluster and the metrics in room node.
//
// Queues. At most mostUnderWay canaries are under way at once; when there are as many, a turn is
// left out. When this node holds mostPending revocations that the log does not have, the canary
// rests, so that it takes no room from users'. Of each node the last kept outcomes count.
//
// Promises:
//
//	C1  A node's time is counted from when the revocation was taken until its word is here, and
//	    one that has not given it in time has failed.
//	    TestMeasuresUntilTheWordIsHere, TestNodeThatDoesNotConfirmFails
//	C2  A node that did not confirm the last canary has no figure, however fast it was before; and
//	    what failed counts as longer than anything.
//	    TestFailuresAreNotShownAsFast
//	C3  What is under way and what is kept is bounded, and a node that leaves is forgotten.
//	    TestCanariesUnderWayAreBounded, TestCanaryRests, TestNodesThatLeaveAreForgotten
//	C4  Close ends all and waits for it; what was under way counts for nothing.
//	    TestCloseEndsTheCanary
package canary
