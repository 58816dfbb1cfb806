// Package watch is a stream of events over HTTP, as server-sent events: what happened behind a
// place, and then what happens, for as long as the other side listens. It keeps nothing of what it
// sends but one page, and, once for all streams, what happened last; whoever does not read holds up only itself.
//
// Promises:
//
//	W1  What is sent goes on where the place that was named ends, without a gap and without a
//	    double, also while much happens.
//	    TestFollowsWithoutAGap
//	W2  A place that is kept no more is answered with 410, and what to do.
//	    TestPlaceThatIsGone
//	    A place that the node does not reach in time is a 409: nothing would ever come.
//	    TestPlaceAhead
//	W3  Whoever stops reading is let go; the others do not notice. There are never more streams than
//	    Limit.
//	    TestSlowReader, TestTooManyStreams
//	W4  A stream ends with the right to read it, and with the node.
//	    TestStreamEndsWithItsRight
//	W5  A stream on which nothing happens moves on all the same: so a place does not grow old while
//	    someone listens.
//	    TestHeartbeat
//	W6  Many streams cost little more than one: what they follow is read and encoded once, and the more
//	    there are the longer each rests when it has sent what there is. Who is far behind reads by itself, in a turn, and who begins
//	    further on takes nothing from the others.
//	    TestManyStreamsReadOnce, TestStreamsRest, TestTailIsBounded, TestFarBehindReadsInATurn, TestNewcomersLeaveTheTail
package watch
