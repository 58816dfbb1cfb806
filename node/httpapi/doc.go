// Package httpapi is what both HTTP listeners share: how an error becomes a status and a
// problem document (RFC 9457), how a panic is told, what a condition says, how a cursor is made, how JSON is read, how a
// request waits for its min_revision, and what readiness looks like. It serves
// nothing itself. The listeners are rooms data (questions) and control (changes).
//
// Promises:
//
//	H1  An error that is not known here tells its text to nobody outside.
//	    TestProblemOf
//	H2  Every error has a valid status, also one from a newer version of Veto.
//	    TestProblemOf
//	H3  What is told of a panic holds nothing of the request that caused it.
//	    TestPanicText
//	H4  A condition that is not understood entirely is refused, and a weak tag never matches.
//	    TestCondition, FuzzCondition
//	H5  A cursor is taken by the list that gave it alone, and as it was given.
//	    TestCursor, FuzzPlace
//	H6  A request waits for its min_revision a bounded while, with a bounded number of others, and not on a
//	    node that is not ready or stops.
//	    TestWaiting
//	H7  What the control plane takes, and lines of streams and requests over NATS, is read in one way, and of what is wrong a
//	    member is named, never a value.
//	    TestReadJSON
package httpapi
