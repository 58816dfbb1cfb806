// Package apikey makes API keys and finds the record of one that is presented.
//
// A key is a prefix, which an organisation may choose, an environment, which may be missing, 30
// random characters of base62 (178 bits) and 6 that are the CRC-32 of all before them, so that a
// typo, or a string that merely looks like a key, is told without a look-up: by a gateway or a
// scanner, too, as README.md says how. Which prefix it has does not matter to whether it is good. The cluster keeps the SHA-256 of a key and never the key: it has more than
// enough random bits for a plain hash. The room decides nothing about revocation.
//
// A key may also be imported: another system made it, in any form, and the cluster was told its
// hash. As long as there is none, what has not the form above is malformed with no look-up.
//
// Promises:
//
//	K1  A key that was not made as above is malformed, unless keys were imported; then it is not
//	    found.
//	    TestEveryChangeIsMalformed, TestImportedKeysHaveAnyForm
//	K2  A disabled or expired key is never good.
//	    TestStates
//	K4  A secret that was replaced is good until its overlap ends, and says so.
//	    TestOldSecret
//	K3  Whatever is presented gets an answer, and never another key's record.
//	    FuzzVerify
//	K4  The form is what is published of it: what is made has it, and no typo has.
//	    TestFormIsReadBack, TestFormNeverChanges, TestPatternFindsKeys
//	K5  An imported key of 1 to 512 bytes is found, and allocates nothing.
//	    TestImportedKeysHaveAnyForm
package apikey
