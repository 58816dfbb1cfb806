// Package dev runs a whole cluster on one machine: real nodes on loopback, each with its own
// log, store, gossip, NATS and listeners, with certificates of its own authority, and a demo
// token issuer. `veto dev` shows it to people, and tests break it.
//
// It knows nothing that a node would not: the nodes meet over the network only.
package dev
