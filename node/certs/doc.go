// Package certs makes and reads what nodes prove themselves with: a certificate authority for
// the cluster, a certificate for each node, and the gossip key. It is for people who have no
// authority of their own; certificates from another one do as well, if their first DNS name
// is the node's id.
//
// It does not renew certificates by itself, and does not revoke them: its Keeper sees when the files are others.
//
// Promises:
//
//	T1  An existing file is never overwritten, and what fails leaves nothing behind.
//	    TestNothingIsOverwritten, TestHalfADirectoryIsLeftAlone
//	T2  Private files can be read by their owner only.
//	    TestPrivateFiles
//	T6  A file with a secret that anybody on the machine may open is refused.
//	    TestFilesThatOthersMayRead in cmd/veto
//	T3  What is issued connects two nodes with each other, and what could not is refused
//	    when it is read.
//	    TestIssuedCertificatesConnect, TestBadMaterialIsTold, TestWrongPurposeIsTold,
//	    TestChainIsRead
//	T4  A node's certificate does not outlive its authority.
//	    TestNoNodeOutlivesItsAuthority
//	T5  What cannot be a node's id or host is not put into a certificate or a path.
//	    TestBadNamesAreRefused
//	T7  Files that have changed are taken together when they fit each other, and otherwise none of them.
//	    TestKeeperTakesAllOrNone
//	T8  What is read again while a node runs is a regular file: nobody waits for a pipe.
//	    TestPipeIsNotKept
package certs
