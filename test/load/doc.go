// Package load runs a cluster of real `veto serve` processes on this machine under much load. `make soak` has it
// live through a day in minutes, and looks whether anything grows without an end; `make flood` measures what a
// flood of the control plane and a bulk import do to validations. All share one machine with those who ask, so that times
// mean little by themselves: only ratios of what was measured in turns are compared.
//
// The soak's nodes are built as those of test/faults are, and their clocks run fast: so what is revoked
// is forgotten within the minutes.
//
// Promises:
//
//	S1  Under a load that stays the same, with revocations that expire, neither memory, file descriptors, goroutines
//	    nor the room on the disk grow without an end, but for the audit trail. In ten minutes the tables that the state flushes
//	    are not merged yet: they may grow to as many as wait for that, and what is in them is held by its number.
//	    TestSoak
//	S2  What tells that something grows, tells so.
//	    TestGrowthIsSeen
package load
