// Package demo is the token issuer of `veto dev`: enough of an OAuth 2.0 server to get a real,
// signed token with the client credentials grant (RFC 6749 section 4.4), and to trust it
// through its metadata. It is for trying things out on one machine, and for nothing else.
//
// Promises:
//
//	O1  Only the client with the secret gets a token, and the token verifies.
//	    TestTokenIsGivenToTheClient
package demo
