// Package intake is where a revocation is taken in, by whatever way it comes: as the body of a
// request, as a line of a stream, as a message of NATS or of JetStream. It reads strictly what is
// asked for, verifies a token that is presented, holds whoever asks to what their key is
// bound to, and says in a receipt what became of it. It knows no HTTP and no NATS.
//
// Promises:
//
//	I1  What is not understood entirely is refused, however it comes, and nothing of it is repeated
//	    but which member is wrong. The limit and the codes are the same on every way.
//	    TestWrongRequests, TestWrongMembersAreNamed, FuzzParse, TestOneCodeWhateverTheWay in room node/httpapi/control
//	I2  A key that is bound to issuers or consumers revokes nothing but what is theirs, and one that
//	    is bound to targets by no other.
//	    TestBoundKeys, TestBoundToConsumersAndTargets
//	I3  What is asked for is done in the name of the key that asks, which must be one that may
//	    revoke now.
//	    TestAuthority
//	I4  The same request is done once, and the same key with another request is refused.
//	    TestRequestsHaveSums
//	I5  An event has one name, however often and from where it comes, and no two have the same. What
//	    will never be done is told apart from what may be done later.
//	    TestEventsHaveNames, TestEventsThatAreRefused, FuzzParseEvent
//	I6  A receipt says what stands in the log and until when, or that it is pending: never more than is
//	    known.
//	    TestReceipts
//	I7  A token that is signed with a key which its issuer has just published is revoked: the key is
//	    fetched and waited for, and an event comes again.
//	    TestNewSigningKeyIsWaitedFor, TestEventWaitsForItsSigningKey
//	I8  A line of a stream is understood as it would be alone, whatever came before it.
//	    FuzzLines
package intake
