// Package bench puts load on HTTP servers and measures what whoever waits for an answer sees. `veto
// bench` shows it to people, for clusters of their own, and bench/side puts Veto beside what else
// people build with it.
//
// In the open loop requests are due at a fixed rate, whatever becomes of the ones before, as those of
// independent callers are. A latency is counted from when its request was due, not from when a connection
// was free to send it: so a server that stalls is charged with all that came meanwhile. In the closed
// loop, which has to be asked for, each connection sends its next request when it has the answer to the
// one before. That finds out how much a server can do, and hides what it does while it stalls.
//
// It does not know what a good answer is, beyond what it is told; it draws nothing and judges nothing.
// Its own lateness is measured beside what it measures: where that is large the generator was the bound.
//
// Promises:
//
//	L1  A server that stalls shows it in the latencies of all that was due meanwhile.
//	    TestStallShowsInTheOpenLoop
//	L2  Every request that was due is accounted for: answered, refused, failed, or never answered; and those
//	    that were never answered count as having waited until the end.
//	    TestWhatIsNeverAnsweredIsCounted, TestBadAnswersAreCounted, TestBrokenConnectionsAreCounted
//	L3  An answer is read to its end, however it is framed, and what is no answer is a failure.
//	    TestAnswersAreReadToTheirEnd, FuzzReadAnswer
//	L4  Latencies are kept to a part in a thousand, and put together without loss.
//	    TestLatenciesAreKept
//	L5  The rate is kept, over the whole of a run.
//	    TestRateIsKept
//	L6  What would never end, or take all of a machine, is refused before anything is sent.
//	    TestLoadsThatCannotBe
package bench
