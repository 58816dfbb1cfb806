// Package apikey makes API keys and finds the record of one that is presented.
//
// A key is a prefix, 30 random characters of base62 (178 bits) and 6 that are the CRC-32 of
// all before them, so that a typo, or a string that merely looks like a key, is told without
// a look-up. The cluster keeps the SHA-256 of a key and never the key: it has more than
// enough random bits for a plain hash. The room decides nothing about revocation.
//
// Promises:
//
//	K1  A key that was not made as above is malformed, whatever is in the index.
//	    TestEveryChangeIsMalformed
//	K2  A disabled or expired key is never good.
//	    TestStates
//	K4  A secret that was replaced is good until its overlap ends, and says so.
//	    TestOldSecret
//	K3  Whatever is presented gets an answer, and never another key's record.
//	    FuzzVerify
package apikey
