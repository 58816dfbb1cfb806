// Package remembered keeps verified tokens, so that a token that comes again is not verified
// again: its signature was good and these are its claims. Nothing else is remembered. When it
// expires, how fresh the node is and what is revoked is looked up each time by whoever asks.
//
// A token is found by the whole of it, not by a hash. It is forgotten when its issuer's rules or
// keys change, and outside the time for which it passes. Memory is bounded by weight, and what
// is kept follows from how often it is asked for (W-TinyLFU): tokens that come once do not push
// out those that come often. The room starts no goroutine, and keeps no token that was denied.
//
// Promises:
//
//	T1  Only the very token that was put is found, as long as its issuer's rules and keys are
//	    those that it was verified by, and it passes.
//	    TestFoundByTheWholeToken, TestForgottenWithItsTrust, TestForgottenOutsideItsTime
//	T2  Memory is bounded, whatever comes.
//	    TestWeightIsBounded
//	T3  A flood of tokens that come once leaves those that come often.
//	    TestFloodLeavesTheHot
//	T4  Finding a token does not allocate.
//	    TestGetDoesNotAllocate
package remembered
