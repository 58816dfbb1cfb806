// Package simulation runs whole clusters in one process, in made-up time, by seed: hundreds a minute,
// for breadth. test/faults runs few, of real processes.
//
// Three voters and a replica are each a real replication.Replica with its Raft, machine, store, index,
// outbox, autopilot and roster, and a real validate.Validator is asked; streams come in by bulk.Importer, messages
// by intake.Intake. What lies outside is put in its place, at the edges that replication, consensus and roster name:
//
//   - the disk is Pebble's file system in memory, and loses when the machine falls any part of what was not
//     synced. Raft's log is in memory as well: what it has answered stays, and what was on its way
//     is there or not (raft-wal on a disk that fails is tested in replication/consensus);
//   - Raft's and gossip's connections, calls between nodes, gossip's packets, and notices and beacons go over a
//     network that is late, loses, sends again and is cut in one direction or both, each link by its own random
//     numbers. Packets, notices and beacons also come twice and overtake each other. Gossip is memberlist's, as in
//     production, but that Node.join is written down once more here (gossip_test.go);
//   - what NATS carries is given to the nodes where replication/broadcast gives and takes it: what
//     subscribers of the feeds are told, and the messages of a stream of JetStream, each of which comes until it was
//     taken, and again, to any node. Its server is not here: while it listens, goroutines wait for a real socket,
//     and made-up time stands still as long as any does. So what it does with
//     subjects, accounts and acknowledgements is tested in replication/broadcast; what a connection does to notices and
//     beacons, in replication/notices;
//   - TLS between nodes is not here: they open dozens of connections in a run, and of the 300 ms that one takes each
//     would have about 2 for its handshake. It is tested in replication/peer and by test/faults;
//   - clocks are set wrong on one voter at a time and on the replica, and hours pass at once.
//
// Clients revoke, lift, make, disable, roll and delete API keys and ask every node (workload_test.go,
// changes_test.go, register_test.go), and send streams and bring messages, again and to other nodes (stream_test.go,
// events_test.go), while the plan that the seed makes is carried out (plan_test.go). When all
// is mended (checks_test.go): what clients saw is linear, by test/history and by a register for each of some
// keys' names; what was answered as pending is in the log; what was revoked is denied on every node, and
// nothing else; of streams each line that was told done is revoked on every node at the revision that was told,
// each is done or told why not once all of it was sent, and none twice, as no message is; what
// happened is in the feeds without a gap, and as subscribers were told; nodes know of each other what they say of
// themselves; audit trails are whole and the same; states are the same, byte for byte. An allowance is
// held at once against when it says that its state is of, and when its node started.
//
//	make simulate SEEDS=10000
//	go test ./test/simulation -run TestSimulation -v -seed 7 -seeds 1 -tell
//
// How far a seed goes. It decides the plan, what each client draws, and how late each message of a link is.
// It does not decide how goroutines take turns, nor Raft's timeouts and whom memberlist speaks to, which the
// libraries draw by themselves: so a run is not the same again, and a rare failure comes again in some of many: give
// -test.count 50. A run that fails shows its plan, what was refused, and the history of what is wrong; one that
// hangs, what nodes logged last.
//
// What it cannot see. Time stands while anyone computes: two goroutines meet only within one instant, and
// then as the machine runs them. So a fault that needs one to be held up between two lines (a
// revision that is raised too early) is hardly found here. Nobody may sleep who holds a lock, so Pebble's disk
// is never slow; Raft's log is. Where clocks may be wrong by days, a stream or a message that comes again may be one
// of another day, which nobody knows any more: there it may be done twice.
//
// A node that ends by itself is wrong here, unless it says that it can go on once it is started again
// (consensus.ErrStartAgain): then it is, as by whoever watches over processes.
//
// What it found, rarely, by a run that hung: Raft's library does not see that a state from another node replaced a log
// that had another past and went on behind it (hashicorp/raft#697). The node refused what follows the state, and was
// sent the state again, without a pause, for good if the leader could commit nothing without it. It takes more entries that
// were never committed than the leader keeps of its log: here that may be one, in production at least 1,024. If that
// comes again, what nodes logged last repeats "Installed remote snapshot" and "failed to get previous log".
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
//	B1, B2, B4, B5 of node/httpapi/bulk, P14 of replication/broadcast and I5 of node/intake as far as they are the
//	     nodes', F1 and F2 of replication/feed, G1 of replication/roster: TestSimulation
//	S1   clocks are set as an operator sets them: TestClockIsSet
//	S2   the voters of a new cluster wait for each other: TestVotersOfANewClusterWaitForEachOther
//	S3   a voter that lost its disk is demoted before it hears of anything: TestVoterThatLostItsDiskIsDemoted
//	S4   a node whose log was replaced by a state goes on, also when nothing can be committed without it:
//	     TestNodeWhoseLogWasReplacedGoesOn
package simulation
