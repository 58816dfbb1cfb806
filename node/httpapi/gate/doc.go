// Package gate is what stands before a plane: it bounds how many connections are open, how many requests
// are under way, how long whoever sends may take for it, and how often each caller comes. It
// does not know what is asked, nor who may ask it.
//
// What is above a bound is told so at once, and when to come again. Nothing here waits, but for a turn: see Turns.
//
// Promises:
//
//	G1  Above the bound of connections, a further one is closed, and those that are open go on.
//	    TestConnectionsAreBounded
//	G2  Above the bound of requests a further one is answered with 503 and Retry-After, but for the paths
//	    that say whether the node is alive.
//	    TestRequestsAreBounded
//	G3  Who sends slowly, or not at all, is cut off: in the header, in the body, whether or not anybody reads
//	    that, and between requests. An answer may take as long as it takes.
//	    TestSlowSendersAreCutOff, TestLongAnswersAreNot
//	G5  Places are given to as many as there are, and each is free again once it is left.
//	    TestPlacesAreBounded
//	G7  No caller has more than its share of places, and others have theirs. Who has none is not remembered.
//	    TestSharesAreBounded
//	G6  While questions take of the processors, what can wait computes few at once, what is prompt first, and rests the longer
//	    after it, the later questions are seen; but each rest is bounded. Nobody has a turn who writes to somebody slow.
//	    TestFewComputeAtOnce, TestWhatIsPromptGoesFirst, TestTurnsRest, TestStalledNodeStaysCrowded, TestWritesAreOutOfTurn,
//	    TestLongWorkSharesItsTurn
//	G4  A caller who comes too often is told when to come again, and no other caller is. What
//	    is remembered of callers is bounded.
//	    TestEachCallerHasARate, TestCallersAreForgotten
//	G8  Who lets many requests wait for a turn that are not prompt is refused further ones at once; others wait behind
//	    a bounded number of them.
//	    TestNobodyFillsTheQueue
package gate
