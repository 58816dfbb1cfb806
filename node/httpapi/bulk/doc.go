// Package bulk takes streams of revocations in, line by line, and puts all that there are out in
// the same form. It reads and answers at the same time, in constant memory, however long the
// stream is; it knows neither HTTP nor who asks.
//
// A stream has a name, the Idempotency-Key. What was done of it is known to the whole cluster by
// the number of its last line, and the sum of all until there: whoever sends the same stream again, to
// any node, goes on where it was. The sum finds mistakes; whoever makes lines of the same sum on purpose
// cheats himself, as a key is its caller's own.
//
// Queues. One batch is read while the two before are proposed; then the reader waits. A batch that
// reaches the log before the one that it follows is refused there, and proposed again.
//
// Promises:
//
//	B1  The outcome of each line is told: by its number if it was refused, by the number of a
//	    later line that it was done. One that was refused is tried again when the stream is sent again,
//	    and told again if it is still refused.
//	    TestEachLineIsTold, TestRefusedLinesAreTriedAgain, TestRevisionIsThatOfAllLines
//	B2  A stream that is sent again is not done again, and one that was cut off goes on.
//	    TestStreamGoesOn, TestPartsInTheirOrder, TestLineWithoutATurnIsTheLast
//	B3  No line, however long or wrong, ends a stream or is kept in memory whole.
//	    TestWrongLines, FuzzImport
//	B4  Of a stream that was not taken in to its end, for whatever reason, nobody says that it was.
//	    TestStreamWithoutItsContext, TestSenderClosesItsSide
//	B5  Lines are not told done for being under the name of a stream of which as many were: only
//	    once the sum shows that they are the same.
//	    TestOtherLinesAreNotToldDone
//	B6  Lines are understood in a turn, which is left while the sender or the log is waited for.
//	    TestTurnIsLeft
//	B7  A part has no more lines than it may have when it begins.
//	    TestPartsAreAsLargeAsTheyMay
package bulk
