// Package jwt turns presented bytes into verified claims, or into the code that says why not.
//
// The checks are a list of steps (steps.go), which Verify takes until one fails and Explain to
// its end. It takes compact JWS only (RFC 7515 section 3.1), and takes it strictly: three parts of
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
//	    TestAttacks, TestCatalogueOfAttacks
//	J3  A token outside its issuer's time, lifetime, audience or type rules is denied.
//	    TestClaims, TestRetiredKeys
//	J4  What is accepted here, jwx and golang-jwt accept, with the same claims; what the JSON
//	    reader takes, the standard library takes, with the same members.
//	    FuzzAgainstOthers, FuzzReadObject, FuzzVerify
//	J5  The examples of RFC 7515, 7520, 8037 and 9068 are read as they are meant.
//	    TestExamplesOfTheRFCs, TestExampleOfRFC9068
//	J6  HMAC is for issuers with a shared secret, and nothing else is for them.
//	    TestSharedSecrets
//	J7  Claims are found where the issuer puts them, and those it must put are asked for.
//	    TestPresets, TestClaimNamesAndRequirements
//	J8  A token that is remembered passes and fails as if it were verified again.
//	    TestRememberedTokensPassAsVerified
//	J9  The issuer's bound on staleness comes with its tokens, as the rules are now.
//	    TestIssuersBoundComesWithItsTokens
package jwt
