// Package client talks to a Veto cluster over HTTP: for the command line, and for other
// people's Go programs. Requests that change something carry an Idempotency-Key, so that
// sending them to the next address after a failure is harmless.
//
// It keeps no state of the cluster and validates nothing itself.
//
// Promises:
//
//	U1  A change is sent again only with the same Idempotency-Key.
//	    TestChangeIsSentAgainWithTheSameKey
//	U2  A secret is never part of an error.
//	    TestErrorsHoldNoSecret
//	U3  A credential goes to the addresses that were given and nowhere else: no redirect is
//	    followed, and none is an answer.
//	    TestRedirectsAreNotFollowed
//	U4  An answer that is too long or cut off is an error, never a shorter answer.
//	    TestPartOfAnAnswerIsNone
//	U5  What is no answer of Veto's is an error, never an empty receipt or verdict.
//	    TestAnswersOfStrangersAreNone
//	U6  Events are given once each and in their order, whatever becomes of the connections; what
//	    is refused is an error, and tried no more.
//	    TestEventsGoOn, TestEventsAreRefused, TestEventsWaitForRoom
//	U7  Whoever meets an HTTP certificate that has ended is told what mends it.
//	    TestEndedCertificateSaysWhatMendsIt
package client
