// Package jwt turns presented bytes into verified claims, or into the code that says why not.
//
// It takes compact JWS only (RFC 7515 section 3.1), and takes it strictly: three parts of
// canonical base64url, header and claims as JSON objects without duplicate members, within
// bounds. The issuer is found by the exact iss, the key by kid within that issuer, and the
// algorithm must be the key's own. Keys, URLs and certificates in a header are never looked
// at. The room knows nothing of revocation, and of no issuer but through its keyset.
//
// Promises:
//
//	J1  A token of which one bit was changed is denied.
//	    TestEveryBitCounts
//	J2  The known attacks on JWTs are denied, each with the right code.
//	    TestAttacks
//	J3  A token outside its issuer's time, lifetime, audience or type rules is denied.
//	    TestClaims
//	J4  What the JSON reader takes, the standard library takes, with the same members.
//	    FuzzReadObject
package jwt
