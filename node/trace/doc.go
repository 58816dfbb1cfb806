// Package trace tells a collector (OTLP over HTTP) of the way of requests through the cluster: what was done in which order on which
// nodes, and how long it took. It is the only room that knows OpenTelemetry. A Tracer that is nil tells nothing,
// and costs nothing.
//
// A step has a name that the program gives it, times, and the node; nothing of what was asked: no credential, claim,
// name or address. What is to be sent waits in a queue of 2,048 steps; when that is full, or the collector does not
// answer, steps are dropped: nobody waits for it.
//
// Promises:
//
//	X1  What was done of one revocation, on all nodes, is one trace.
//	    TestRevocationIsOneTrace
//	X2  A trace that is not followed is told by nobody, and costs no allocation while tracing is off.
//	    TestOffCostsNothing, TestNotSampledIsNotTold
//	X3  What comes as a traceparent and is none begins a trace of its own.
//	    TestCarriedIsChecked
//	X4  What cannot be sent is told once, in the node's log and nowhere else, and so is that it can be again.
//	    TestWhatCannotBeSentIsLogged
package trace
