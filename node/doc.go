// Package node puts the parts of one node together: it opens them in their order, joins what
// may not know each other (validate and replication meet here), and closes them in reverse.
// It holds no logic of its own about credentials or records, reads no flags, and prints
// nothing.
//
// Start order: data directory, certificates, index and view, port for nodes, gossip, NATS,
// notices, replication, and last the two HTTP listeners, so that nothing is answered before there is
// something to answer from. The data plane then says unknown until the node has caught up.
//
// Promises that only a whole node can keep (numbered as in the design):
//
//	P6   TestReceiptHoldsOnEveryNode, TestReceiptTellsWhatStands, TestSameRequestAtOnceHasOneReceipt
//	P8   A node says how old its state is, also when it is far away, and so does a leader that has
//	     lost its voters, and who follows it.
//	     TestReplicaInAnotherRegionSaysItsLag, TestLeaderCutOffFromItsVoters in cmd/veto
//	P9   TestStrangerCannotJoin
//	P10  TestRestartedNodeIsNotReadyWithoutALeader
//	N1   What is wrong with the configuration or the data directory is said, and nothing is
//	     changed.
//	     TestBadConfig, TestDataDirectoryOfAnotherNode
//	N2   Keys that tokens name and nobody has are fetched at once, by one node, and no more often
//	     for whoever invents kids; a revoked key stays revoked though it is published.
//	     TestKeysAreFetchedWhenTokensNameNewOnes
//	N3  A revocation that is asked for over NATS is one as any other: done in the name of the key that
//	    the client logged in with, within its bounds, once, and answered with its receipt.
//	    TestRevokeOverNATS
//	N4  What a subscriber of a feed misses it can see, and find: the same events, by the same numbers; also one that came while
//	    the node could not be sure who may read.
//	    TestGapOfAFeedIsFilled, TestEventsGoOnAfterARestart, TestStreamEndsWithItsKey, TestClientThatCameEarlyHearsTheFeeds
//	N5  Every node measures when every other denies what it revokes, tells it as it is, and leaves
//	    no trace of that in lists, audit trail or feeds.
//	    TestCanaryOnThreeNodes, TestCanaryMeasuresOneWayThereAndBack, TestCanaryLeavesNoTrace,
//	    TestCanaryIsOff
//	N6  An event of a stream revokes once, however often it comes, whichever node is lost, and is not
//	    acknowledged without a quorum.
//	    TestEventsOfAStreamAreTaken, TestEventsSurviveTheirTaker, TestEventsOfTheNodesOwnStream
//	N7  Every node has the same audit trail; it says who changed what from where, and holds no secret.
//	    What is changed of it on the disk of a stopped node is found.
//	    TestAuditTrailOnThreeNodes, TestTamperedDiskIsFound, TestOldClusterBeginsItsChain,
//	    TestReplicaInAnotherRegionSaysItsLag
//	N8  To validate a token that was seen before, or an API key, with limits or without, allocates
//	    nothing.
//	    TestWhatComesOftenAllocatesNothing
//	N9  All nodes together keep a key's limits, within a tenth, and a quota outlives them.
//	    TestThreeNodesKeepOneRate, TestQuotaOutlivesTheNodes, TestLimitsOfOneNode
//	N10 When a key was used on one node is seen on all, and changes nothing of the key.
//	    TestUseOfAKeyIsSeenOnEveryNode
//	N11 A rotation of the pepper, and of the key that wraps it, breaks no check of a key on any node. A
//	    node that cannot read a pepper is not ready, answers unknown of every API key, and goes on with
//	    JWTs and revocations.
//	    TestRotationBreaksNoCheck, TestPepperIsWrappedAnew, TestPepperIsWrappedAnewWithoutARestart,
//	    TestNodeWithoutThePepperFailsClosed
//	N12 No listener speaks a TLS below 1.3.
//	    TestOldTLSIsRefused
//	N13 A stream of revocations under the name of another is refused, and not taken for done.
//	    TestStreamIsKnownByItsLines
//	    It ends with the key that it was begun with: TestStreamOfRevocationsEndsWithItsKey
//	N15 A node knows its cluster from its start, though a crash took that from its state.
//	    TestQuorumIsLostForGood in cmd/veto
//	N14 What a node stands on and does not renew by itself, disk and certificates, is among its numbers.
//	    TestHostMetrics
//	N13 Certificates, the authority that signs them, and the gossip key are replaced while all nodes run and
//	    take revocations: no question fails, no revocation is lost, and who has the old ones is cut off.
//	    TestRotationOfAuthorityAndGossipKeyUnderLoad, TestHalfANewCertificateChangesNothing,
//	    TestHTTPCertificateIsRenewed, TestEndedHTTPCertificateIsSaid, TestGossipKeyThatComesTooEarlyIsSaid
//	    A node whose certificate ends does not go on leading, if another can: TestLeaderWhoseCertificateEndsHandsOver
//	N14 A node that lost its disk does not vote by what it has forgotten, and one that cannot found a cluster
//	    says what it waits for. Nodes are replaced, leave and change their roles as operators want.
//	    TestEmptyVoterDoesNotVote, TestNodeThatFoundsNothingSaysSo, TestDeadNodeIsReplaced in cmd/veto,
//	    TestTwinOfAVoterIsNotLetIn in cmd/veto, TestLeaderLeavesInOrder in cmd/veto, TestRolesAreGivenByOperators in cmd/veto
package node
