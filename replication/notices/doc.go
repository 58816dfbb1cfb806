// Package notices tells the other nodes what cannot wait for the log: notices of revocations, and the leader's beacons.
//
// What it carries may be lost, doubled, late or out of order; nobody waits for it, and nothing relies on it: correctness
// is the log's. Each node connects with each other one, by its id and over the port for nodes, and tells it on that
// connection; on those that others opened it hears them. It knows nothing of what it tells, and who may connect is for room
// peer to say.
//
// Queues. What is told waits for each node on its own, in 4 MiB; when they are full it is dropped, for that node, and
// counted. For a node that is not connected nothing is kept, and what is under way when a connection fails is lost with it.
//
// Promises:
//
//	P2  What arrives is what was sent, in that order; others are not harmed by its loss, or by a node that does not hear.
//	    TestWordsReachTheOthers, TestNodeThatDoesNotHearHoldsNobodyUp
//	    What cannot be read is dropped and counted, and nothing is read that is longer than a word may be.
//	    TestWhatCannotBeReadIsCounted, FuzzReader
//	P9  Who is not to be told hears nothing, though it was told before; and who has no certificate of the cluster's
//	    neither hears nor is heard, as room peer promises.
//	    TestOnlyWhoIsNamedIsTold, TestStrangersNeitherTellNorHear
//	N1  A node that cannot be reached is tried again within 4 seconds, and is told nothing old then; who went silent is known
//	    to be gone after 6, by both sides, and who is only slow is not.
//	    TestNothingOldIsTold, TestSilenceEndsAConnection, TestSlowNodeIsTold, TestGoodConnectionIsMadeAnewAtOnce
//	N2  Of each node one connection is heard, the newest.
//	    TestNewestConnectionIsHeard
//	N3  Who tells waits for nobody, and after Close nothing of the room runs.
//	    TestNodeThatDoesNotHearHoldsNobodyUp, TestMain
package notices
