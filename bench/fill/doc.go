// Command fill writes revocations and API keys into the state of a node that does not run, many more than are
// soon sent to one: for what is measured of a node that has millions. It is a tool of the benchmark, and of no
// operator.
//
// Revocations it makes into the commands that a leader would have made, and applies them by replication.Replay, as the node itself
// applies its log when it starts: so records, audit trail, events and revision are what they would be. Of API keys the first is
// made so; the others get the records that it has, with an id and a hash of their own, and neither an entry of the audit trail nor
// an event. What is left out of both is the way there, which is HTTP, outbox and log; the node takes its log for one that is
// behind the state, as after any state that came from another node, and begins a new one. The node must be alone in its
// cluster: others would lack what is written here.
//
// Promises:
//
//	T1  A node that is started on a filled state has each of the revocations and keys, and no others, and goes on: what
//	    was written is changed and lifted as what was sent.
//	    TestNodeGoesOnWithWhatWasFilled
//	T2  What cannot be filled is an error, and nothing is taken for done that the state refused.
//	    TestWhatIsRefusedIsAnError
package main
