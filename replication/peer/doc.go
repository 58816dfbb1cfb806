// Package peer is the one TLS listener through which nodes talk to each other: Raft's own
// connections, those on which they tell each other what cannot wait for it, and calls from node to node.
//
// Both sides present a certificate of the cluster's authority, whose first DNS name is the
// node's id; TLS 1.3 and nothing else. Which of the kinds a connection is, is agreed on
// during the handshake (ALPN). The room knows nothing of what is said.
//
// Promises:
//
//	P9  Who has no certificate of the cluster's authority is not heard, and who dials a
//	    node by its id reaches that node or nobody.
//	    TestStrangersAreRefused, TestWrongIDIsRefused, TestNamelessIsRefused,
//	    TestStrangerIsNotCalled, TestAnotherPortIsRefused
//	    Nor who says to be of another cluster than the node, with the same certificates, though they had connected when one of
//	    them was of none.
//	    TestAnotherClusterIsRefused, TestAnotherClusterThatWasThereFirst, TestNodeThatIsOfAClusterNowSaysSo
//	E1  A call's failure says whether the other node may have acted on it, and no call is
//	    sent twice.
//	    TestCallTellsWhetherItWasSent, TestCallIsSentAtMostOnce, TestRedirectIsNotFollowed
//	E2  A call is bounded in size both ways, in time, and by the caller's context.
//	    TestTooLargeIsRefused, TestLongAnswerIsRefused, TestMuteNodeIsGivenUp
//	E3  After Close nothing of the room runs: no handler, no handshake, no dial.
//	    TestCloseWaitsForHandlers, TestCloseEndsOwnCalls, TestCloseEndsSilentHandshakes, TestMain
//	E5  Handshakes under way are bounded: a further connection waits until one has ended.
//	    TestHandshakesAreBounded
//	E4  An error of the operating system does not end the listening.
//	    TestAcceptingSurvivesErrors
//	E6  Who is refused is told whether it is for its certificate or for its cluster, whichever side refuses; the log says it of
//	    a peer and reason once in 10 seconds, and names whose certificate it is.
//	    TestRefusedIsToldWhy, TestRefusalIsLoggedOnce, TestRefusalsAreBounded
//	E7  Certificate and authorities are exchanged while nodes talk: no call fails, and who was connected by
//	    the old ones is cut off after the grace.
//	    TestIdentityIsRenewed
//	E8  Notices are sent in the class for data that somebody waits for (RFC 4594).
//	    TestNoticesAreOfTheirClass
package peer
