// Package faults breaks a cluster on purpose and looks whether it kept its promises.
//
// Each node is a real `veto serve`, in a network namespace and on a small disk of its own: three
// voters and a replica, or as many as -voters and -replicas say. A workload (workload_test.go) revokes
// by every target, one by one, in streams and by events of a user's NATS server; lifts; makes, rolls
// and deletes API keys; and asks every node about all of that. A nemesis (nemesis_test.go) carries out
// a plan, which the seed alone makes and which is printed at the start: what there is in it is the
// list in harm_test.go. Whoever leads is known only then, so the plan says no more than that.
//
// What every client saw is then held against a model (test/history) with porcupine. After all has
// healed (checks_test.go) every revocation that was answered is looked for on every node, as is
// whatever nobody revoked or somebody lifted; tokens that are signed now are allowed; `veto audit
// verify` says that each trail is whole and is the same one; the states are the same, byte for byte,
// at one entry of the log; and no node has ended by itself, unless its disk was broken.
//
//	make faults                                   what CI runs: 20 s
//	make faults SECONDS=600 SEED=7                a campaign
//	go test -tags faults ./test/faults -run TestFaults -v -seconds 60 -seed 7 -voters 5 -only clock
//
// It ends with a table: the faults, the calls that were answered, refused, and of which nobody knows
// what became, for how long nobody answered, and what was lost and wrong: both 0, or the test fails.
//
// It needs Linux, root, iproute2, nftables and strace. A run takes away what killed runs have left,
// and nothing of those that live.
//
// What it does not do. It cannot delay packets where the kernel has no netem, and says so: a slow link
// is then a narrow one. The disks are in memory, so nothing is lost by a kill but what the process
// itself had not written yet: what a machine loses that falls is in the tests of replication/store and
// replication/consensus. A clock that is wrong is wrong for what the node takes from its surroundings
// (cmd/veto, clock_faults.go), and not within libraries: certificates are looked at by the machine's
// clock. It is never wrong on more than a minority of the voters.
//
// Promises that it holds:
//
//	P6  TestFaults
//	P7  TestFaults, TestBulkThroughKills
package faults
