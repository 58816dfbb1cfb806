// Package faults breaks a cluster on purpose and looks whether it kept its promises.
//
// Each node is a real `veto serve` in a network namespace of its own; a workload revokes and
// validates through all of them while a nemesis, by seed, kills, freezes and cuts off nodes. What
// every client saw is then held against a model (model_test.go) with porcupine, and, after all has
// healed, every revocation that was ever answered is looked for on every node.
//
// It needs Linux, root and iproute2, and is built with the tag faults: `make faults`.
//
// Promises that it holds:
//
//	P6  TestFaults
//	P7  TestFaults
package faults
