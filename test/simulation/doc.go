// Package simulation runs whole clusters in one process, in made-up time, by seed: hundreds a minute,
// for breadth. test/faults runs few, of real processes.
//
// Three voters and a replica are each a real replication.Replica with its Raft, machine, store, index,
// outbox and autopilot, and a real validate.Validator is asked. What lies outside is put in its place, at
// the edges that replication and consensus name:
//
//   - the disk is Pebble's file system in memory, and loses when the machine falls any part of what was not
//     synced. Raft's log is in memory as well: what it has answered stays, and what was on its way
//     is there or not (raft-wal on a disk that fails is tested in replication/consensus);
//   - Raft's connections, calls between nodes, and notices and beacons go over a network that is
//     late, loses, sends again and is cut in one direction or both, each link by its own random numbers.
//     Notices and beacons also come twice and overtake each other. Real TLS, NATS and memberlist are
//     not here: what a node knows of others is whom it reached in the last seconds;
//   - clocks are set wrong on one voter at a time and on the replica, and hours pass at once.
//
// Clients revoke, lift, make, disable, roll and delete API keys and ask every node (workload_test.go,
// changes_test.go, register_test.go) while the plan that the seed makes is carried out (plan_test.go). When all
// is mended (checks_test.go): what clients saw is linear, by test/history and by a register for each of some
// keys' names; what was answered as pending is in the log; what was revoked is denied on every node, and
// nothing else; audit trails are whole and the same; states are the same, byte for byte. An allowance is
// held at once against when it says that its state is of, and when its node started.
//
//	make simulate SEEDS=10000
//	go test ./test/simulation -run TestSimulation -v -seed 7 -seeds 1 -tell
//
// How far a seed goes. It decides the plan, what each client draws, and how late each message of a link is.
// It does not decide how goroutines take turns, nor Raft's timeouts, which the library draws by itself: so a run is
// not the same again, and a rare failure comes again in some of many: give -test.count 50. A run that fails
// shows its plan, what was refused, and the history of what is wrong.
//
// What it cannot see. Time stands while anyone computes: two goroutines meet only within one instant, and
// then as the machine runs them. So a fault that needs one to be held up between two lines (a
// revision that is raised too early) is hardly found here. Nobody may sleep who holds a lock, so Pebble's disk
// is never slow; Raft's log is.
//
// Promises that it holds:
//
//	P5   what a reader sees of a node never goes back: TestSimulation
//	P6   TestSimulation
//	P7   TestSimulation, TestPendingDeniesOnceReady
//	P8   without clocks that are wrong, an allowance is of a state that has all that was answered before
//	     its time: TestSimulation
//	P10  TestSimulation
//	P12  TestSimulation
//	S1   clocks are set as an operator sets them: TestClockIsSet
//	S2   the voters of a new cluster wait for each other: TestVotersOfANewClusterWaitForEachOther
//	S3   a voter that lost its disk is demoted before it hears of anything: TestVoterThatLostItsDiskIsDemoted
package simulation
