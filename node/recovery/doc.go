// Package recovery makes a new cluster of what there is of another: of a backup (Restore), or of the data
// directory of a node whose cluster has lost its quorum for good (Recover). It works on the directory of one
// node that does not run; the others join that node with empty directories.
//
// What is made is another cluster, with an id of its own: nodes of the old one that come back are not heard,
// and cannot pass for it. Its revisions begin a billion above the last that the backup, or the directory
// of a survivor, knows of, so that none means two things. API keys go on working, and so do the digests by which revocations are found.
//
// A directory in which this room was interrupted belongs to nobody, and no node starts in it.
//
// Promises:
//
//	D1  A restored cluster holds what the backup holds, and goes on: keys work, what was revoked is denied,
//	    the audit trail is whole.
//	    TestRestoreIntoANewCluster
//	    A question for a revision of the old cluster's that it lacks is unknown.
//	    TestRestoreIntoANewCluster
//	D2  What survivors know to be revoked is denied in the restored cluster from its start, and what is
//	    missing is said.
//	    TestRestoreMergesSurvivors, TestMergeWhatAnotherNodeHadPending, TestMergedLinesAreTold
//	D3  What cannot be restored changes nothing: a directory that has something in it, a backup that is not
//	    whole, a pepper without its key, a survivor of which a part is missing, a file that is no export.
//	    TestRestoreRefuses, TestIncompleteDirectory, TestWhatIsNoExportIsNotMerged
//	D4  What the last node has, it denies when it goes on alone: what it had applied, what its log holds
//	    behind that, and what it took and nobody else has.
//	    TestRecoverFromTheLastNode, TestRecoverReplaysTheLog
//	D5  Nodes of the old cluster that come back, alone or as its majority, neither join the new one nor
//	    disturb it.
//	    TestOldNodesComeBack
//	D6  What is interrupted can be done again, and leaves no directory in which a node starts; a restore that fails leaves
//	    nothing.
//	    TestInterruptedRecovery, TestInterruptedRestore, TestRestoreInterruptedHalfway, TestTwoRestoresIntoOneDirectory,
//	    TestOneRestoreHasTheDirectory, TestWhatWasMadeIsTakenAway
//	D7  A backup that was taken while the state changed is of one revision.
//	    TestBackupUnderLoad
//	D8  The new cluster gives no revision that the backup or a survivor's directory shows to have been given,
//	    also by a cluster that was made of the old one; and it takes none for reached that its state has not.
//	    TestRevisionsOfARecoveredClusterAreNotGivenAgain
//	D9  A part of a directory in whose place there is an empty one goes for lost, and that is told.
//	    TestEmptyPartsAreTold
package recovery
