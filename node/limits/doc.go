// Package limits carries what this node's limiter has to tell and to draw: twice a second, and
// sooner when a share does not suffice, it tells the leader what rates are asked for and takes in the
// shares that are granted, and draws of quotas through the log. Nothing of a validation waits for
// it.
//
// It counts nothing itself (validate/limiter does). What a call has no answer to is told again in
// the next round.
//
// Promises:
//
//	K1  One round is made at a time, and as soon as 50 ms after the last when one is urgent.
//	    TestRoundsAreMadeInTurn
//	K2  What was drawn and not used goes back when it is closed; a drawing that was not done is made
//	    again, and one of which nobody can tell counts as done.
//	    TestWhatIsLeftGoesBack, TestDrawingsThatFail
//	K3  Of several calls of one kind that fail the first is told.
//	    TestFailureIsToldOnce
package limits
