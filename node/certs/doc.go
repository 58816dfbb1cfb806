// Package certs makes and reads what nodes prove themselves with: a certificate authority for
// the cluster, a certificate for each node, and the gossip key. It is for people who have no
// authority of their own; certificates from another one do as well, if their first DNS name
// is the node's id.
//
// Promises:
//
//	T1  An existing file is never overwritten.
//	    TestNothingIsOverwritten
//	T2  Private files can be read by their owner only.
//	    TestPrivateFiles
package certs
