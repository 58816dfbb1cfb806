// Package record holds what the cluster agrees on, and its byte form: issuers and
// their signing keys, consumers, API keys, revocations, the commands that change
// them, and the revision at which each became true.
//
// It is the vocabulary of Veto: every other room imports it and it imports none of
// them. It is pure. It opens no file, reads no clock and starts no goroutine. It does
// not decide whether a credential is good (validate does) nor in which order commands
// take effect (replication does).
//
// Byte forms. Records and command bodies are deterministic CBOR (RFC 8949 section
// 4.2.1) with integer field numbers. A number, once used, keeps its meaning for good: a
// field may be renamed, never renumbered. A command carries a fixed header in front of
// its body, so that a node that does not know the command, or not all of it, still knows
// whether it may skip it (see Command). What came after the first release has a level: it is
// used once every node knows that level (see Level).
//
// Promises:
//
//	R1  Encoding the same record gives the same bytes on every node.
//	    TestEncodingIsDeterministic, TestStencilEncodesAsEncode
//	R2  Decoding never panics, whatever the bytes, and refuses unknown versions.
//	    FuzzDecodeCommand, TestUnknownCommand, TestUnknownFieldIsNotLeftOut, TestConditionIsInTheHeader,
//	    TestWhatIsAlikeIsNotThere
//	R3  Two different names have different digests, whatever characters they hold.
//	    TestDigestSeparatesFields
//	R4  What managers may give covers no more than it says.
//	    TestGrantable
//	R5  A command says from which level on programs do it as it is meant.
//	    TestLevels
//	R6  What is decoded in a shorter way is the same as by Decode, whatever the bytes.
//	    FuzzDecodeKey, FuzzDecodeImport
//
// Values returned from this package share no memory with its arguments, except where a
// method says so.
package record
