// Package machine applies one command to the state: what each kind of command means.
//
// It is deterministic. It reads the command, the revision and the state, and nothing else;
// so that the same log gives the same bytes on every node. It knows no Raft, no disk and no
// index: what it changed it returns, for those who keep a copy in memory.
//
// Promises:
//
//	P4   Apply reads no clock, no randomness and no map's order; the time is the command's
//	     stamp. What a Machine remembers is what the state has.
//	     TestSameLogSameBytes, TestNoClockNoRandomness, TestMachineForgetsWhatChanges
//	P12  A revocation is kept at least for its issuer's longest lifetime, counted from when
//	     it was made, or until the verified expiry of the one token that it names.
//	     TestRevocationIsKeptLongEnough, TestClockThatIsBehindKeepsLongEnough, TestTrustedAgainRemembersItsLimits,
//	     TestAllowancesHoldForWhatComes
//	M1   A refused command changes nothing.
//	     TestRefusedCommandChangesNothing
//	M2   A request that was done is not done again.
//	     TestRepeatedRequest, TestRepeatedRequestBeforeItWasMade
//	M3   The last admin's key cannot be taken away.
//	     TestLastAdminStays
//	M4  What an outbox brings is done once, however often it is proposed, and one item that is
//	    refused keeps none of the others back.
//	    TestDeliveredOnce, TestRefusedItemsOfAnOutbox, TestRequestsOfAnOutbox, TestOneKeyForSeveralRequestsAtOnce in room node
//	M5  Of a stream that is imported each item is done once, however often it is sent, and tried again
//	    if it was refused; no other stream is taken for it.
//	    TestImportGoesOnWhereItWas, TestImportTriesAgainWhatWasRefused, TestImportHasNoGaps, TestPartsOfAnotherStreamAreRefused, TestRefusedImport,
//	     TestLaterOfAPartCounts
//	M6  An issuer's keys are those of the place that its rules name.
//	    TestKeysOfAnotherSource
//	M7  What is revoked in the canary's name is kept for an hour or two, and is not in the audit
//	    trail; nobody but the cluster does it.
//	    TestCanaryLeavesNoTrace, TestOnlyTheClusterRevokesInTheCanarysName
//	M8   Every change has its entry in the audit trail, in the same batch, and each entry of the
//	     chain the hash over the one before: from the founding on, or from the command that
//	     began it. What is altered, dropped or moved is found.
//	     TestAnyAlteredEntryIsFound, TestSameLogSameHead, TestChainBeginsLater
//	M9   An entry says who, by id and by name as it was, what, when and from where, and of what
//	     was changed only such fields as hold no secret.
//	     TestEntriesSayWhoWhatAndWhereFrom
//	M10  A key has at most two secrets, and no secret that it had before is found as anyone's. One that
//	     does not work gets no new one.
//	     TestRoll, TestRollIsRefused, TestHashesAreThoseOfTheKeys
//	M11  Of the times at which nodes say that they used a key the latest is kept, and nothing else
//	     changes by it.
//	     TestKeysUsed
//	M12  A consumer's key has roles that are defined, as long as it has them.
//	     TestRolesOfKeys, TestRoleStaysWhileKeysHaveIt
//	M13  A command with a condition is done only if the record that it is about is as the condition
//	     says when it is applied: of several made of what one revision showed, one is done.
//	     TestConditions, TestOneOfManyWriters, TestRepeatedRequestWithACondition, TestConditionOnWhatIsNotThere,
//	     TestConditionOfALift
//	M14  What would be expired from the beginning is known by the stamp; what was done is done.
//	     TestExpiryInPast
//	M15  A key is marked as leaked once for each secret that it had.
//	     TestLeakedKeysAreMarkedOnce
//	M16  Managers of a consumer, and its portal sessions, make and roll its keys and no others, with no
//	     more than the consumer says, and only while they are.
//	     TestManagersGiveWhatTheyMay, TestManagersMakeNoMoreThanMaxKeys, TestManagersAreNoMore,
//	     TestManagersStayWhoTheyAre, TestSessionsAreBounded
//	M17  A pepper is there as long as a hash of a key needs it, and new secrets are hashed by the newest
//	     alone. A hash is replaced only where it is as the node saw it; that is no change of the key.
//	     TestPeppersComeAndGo, TestRehashIsOfWhatItSaw, TestPeppersStayWhileTheyAreNeeded, TestPeppersAreInTheTrail
//	M18  The level in force only rises, and a node does not go on above what it knows.
//	     TestLevelOnlyRises
//	M19  What is drawn of a quota never comes to more than there is of it; that is counted by windows,
//	     and is no change that anyone is told of.
//	     TestQuotaIsDrawn
//	M20  The audit trail is cut at the entry that is named, and says so itself; its last entry stays.
//	     TestTrailIsCut
//	M21  What many revocations of a part of a stream have in common is kept once, where all nodes can read that, and
//	     each is read as if it were whole. It goes when they expire; those that do not are kept whole.
//	     TestWhatIsAlikeIsKeptOnce
package machine
