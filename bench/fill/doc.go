// Command fill writes revocations and API keys into the state of a node that does not run, many more than are
// soon sent to one: for what is measured of a node that has millions. It is a tool of the benchmark, and of no
// operator.
//
// It makes the commands that a leader would have made, and applies them by replication.Replay, as the node itself applies
// its log when it starts: so records, audit trail, events and revision are what they would be. What it leaves out is the
// way there, which is HTTP, outbox and log; the node takes the log for one that is behind the state that it was given, as
// after any state that came from another node, and begins a new one. That cluster must have this node alone: others
// would lack what is written here.
//
// Promises:
//
//	T1  A node that is started on a filled state has each of the revocations and keys, and no others, and goes on.
//	    TestNodeGoesOnWithWhatWasFilled
//	T2  What cannot be filled is an error, and nothing is taken for done that the state refused.
//	    TestWhatIsRefusedIsAnError
package main
