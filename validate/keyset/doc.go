// Package keyset holds the verification keys of the trusted issuers, ready to use, in sets
// that never change and are swapped whole.
//
// It is the only room that knows a JWK library; keys leave it as the standard library's
// types. It fetches nothing, and it does not verify signatures.
//
// Promises:
//
//	Y1  A key that is private, symmetric, weak or of an unusable kind is never in a set.
//	    TestParseRefuses
//	Y2  A key is used with one algorithm only, and found only within its own issuer.
//	    TestIssuersDoNotMix
//	Y3  Parse never panics.
//	    FuzzParse
//	Y4  A bad key that an issuer publishes takes none of its good keys away.
//	    TestBadKeyLeavesTheOthers
package keyset
