// Package control is the control plane: the listener through which operators change and see
// the state. It turns requests into commands and records into answers; what a command means
// it does not know. Every operation names the role that it takes, and the OpenAPI document is
// made from the operations themselves.
//
// Promises:
//
//	L1  No operation answers without an operator of the right role, except those that
//	    say so (health and the API's own description).
//	    TestEveryOperationHasARole, TestRoles, TestWhoIsLetInWhere, TestSpellingsOfPathsLetNobodyIn
//	L2  A secret is in one answer only, the one that made it.
//	    TestSecretIsShownOnce, TestKeyIsImported
//	L3  A secret that is presented, in its place or in a wrong one, is in no answer and in no
//	    log line, and is not kept.
//	    TestPresentedSecretsStayInside, TestNoSecretAsReasonOfALift, TestNoSecretIsKept
//	L4  A request that is not understood entirely changes nothing, and nobody can hide another behind it.
//	    TestBadRequests, TestBadKeyRequests, TestBodiesThatCannotBeRead, TestNothingFollowsChunks,
//	    TestNothingIsHiddenBehindARequest, TestInStepWithNginx
//	L5  What is proposed is within the bounds of a command, so that every node can read it.
//	    TestIdempotencyKeyIsBoundedInBytes
//	L6  A presented token is revoked by what was verified of it, never by what it claims.
//	    TestRevokeByToken
//	L7  The API's description is true of what is answered: problems, roles, both planes.
//	    TestDescription; every answer in the tests of this room is held against it (isDescribed)
//	L8  A key that is bound reads no more than it may revoke, unless it has a role to read by.
//	    TestWhatABoundKeyReads
//	L9  A list takes no cursor but its own.
//	    TestCursorsOfLists, TestCursorIsOfOneConsumer
//	L10 Leaks are reported by a revoker, or by who signed what is said, and no secret that is reported
//	    comes back. What is nobody's takes the same work as what is somebody's, until all are known.
//	    TestReportsOfLeaks, TestReportsOfLeaksAreBound, TestReportsOfLeaksMark
//	L11 A JWT opens what its issuer's map of operators says and no more, only while a node can be
//	    sure of it, and who presented it is in the command.
//	    TestOperatorsByJWT, TestOperatorsByJWTAreNoMore, TestOperatorsByJWTOfAnUnreadyNode, TestOperatorsByJWTAreToldApart
//	L13 Who comes too often is told when to come again, and nobody else pays for it; whether the node is
//	    alive can always be asked. No browser is told that another site's pages may read an answer, and
//	    none can be made to send a request that changes something.
//	    TestWhoComesTooOften, TestOtherSitesPagesGetNothing
//	L14 Of streams of revocations and of the audit trail, in and out, there are so many at once, and of these,
//	    of backups and of streams of events each operator has so many; one more is told when to come again. Whose
//	    stream ends as nothing more came is told so.
//	    TestStreamsAreBounded, TestStreamsOfOneAreBounded, TestTransfersOfOneAreBounded, TestSilentSenderIsTold
//	L15 While validations take of the processors, a request computes in its turn and leaves that before it waits for anything; what does
//	    not come to its turn in time is told when to come again, and nothing of it was done. Of what is only read, each operator
//	    has so many requests wait, and no more.
//	    TestWhatBlocksIsOutOfTurn, TestTurnThatDoesNotCome, TestOperatorsWaitBehindThemselves, TestWhatATurnIsFor
//	L12 Managers of a consumer reach /v1/me and nothing else, by it their consumer's keys and no others,
//	    and of others no more than of what is not there.
//	    TestManagersReachTheirOwn, TestManagersReachNothingElse, TestWhoManages, TestPortalSessions, TestMinRevisionBeforeWhoAsks
package control
