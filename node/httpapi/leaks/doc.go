// Package leaks reads reports of secrets that were found where anyone can read them, in the form in
// which GitHub's secret scanning sends them to its partners: who signed a report, what is in it, and
// what it is answered. It looks nothing up and does nothing about a leak: room control does.
//
// Promises:
//
//	K1  A report counts as GitHub's only if one of the given keys signed its very bytes: ECDSA on
//	    P-256 over SHA-256.
//	    TestSignature, TestSigners
//	K2  A report is bounded in its bytes and its items, and is read strictly.
//	    TestParse, FuzzParse
//	K3  No secret is in an answer: its hash stands for it.
//	    TestAnswer
package leaks
