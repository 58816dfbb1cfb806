// Package consensus puts commands in one order on all nodes: it is the only room that knows
// hashicorp/raft, raft-wal and raft-autopilot.
//
// It keeps the log on disk, elects a leader, hands committed entries to a StateMachine in
// batches, and moves whole states to nodes that are too far behind for the log. It does not
// know what an entry means, holds no record, and decides nothing about credentials.
//
// Snapshots are virtual. The store is durable and knows its own applied index, so taking a
// snapshot copies nothing: it makes the store durable up to that index and lets the log be
// cut. Sending one streams the store as it is at that moment; receiving one writes the
// stream to a file, checks it, and swaps the store.
//
// Promises:
//
//	C1  The log is cut only up to an index that the store holds durably.
//	    TestLogIsCutOnlyBehindTheStore
//	C2  A restart applies nothing twice and leaves out nothing.
//	    TestRestartContinues
//	C3  A node that is too far behind gets the whole state, and the same state.
//	    TestFarBehindNodeGetsTheState
//	C4  After the state machine failed, nothing more is applied and the log is not cut.
//	    TestFailedStateMachineStops
//	C5  Only a node that has been dead for long enough is removed, and none while fewer voters
//	    than wanted would be left.
//	    TestPilotRemovesTheDeadOnly
//	C6  A log that was damaged, other than by a last write that was torn, is refused.
//	    TestDamagedLogIsRefused, FuzzDamage
//	C7  The log's weight on disk is bounded, however large its entries are.
//	    TestHeavyLogIsCut
//	C8  What another leader takes back of the log leaves one that opens and goes on.
//	    TestEndOfTheLogIsTakenBack
//	C9  What the log has answered is there, though a write was torn or a sync failed before or after, the process
//	    was killed, and the machine fell; and such a log opens.
//	    TestLogOnAFailingDisk
//	C10 A state that comes late, when the node is ahead of it, is refused, and the node goes on.
//	    TestLateStateIsRefused
//	C11 A state that comes late takes nothing away that continues it: what this node has said that its log
//	    holds stays there.
//	    TestLogBehindALateStateStays, TestLogBehindAStateThatComesAgainStays
//	C12 As many voters as are wanted are kept, of those that may be: who waits takes the place of one that is
//	    dead, before that one loses it, and nobody is demoted without whom the rest could decide nothing. Who is given a vote,
//	    or loses it for a role that gossip tells of, was asked itself: gossip is late.
//	    TestPilotKeepsTheVoters, TestPilotAsksWhomItChanges, TestNobodyIsDemotedWhoIsNeeded
//	C13 Followers hear of a committed command when the leader knows of it, and not only with what it sends next; unless
//	    an entry of Raft's own follows in the log, as at a term's beginning. What they are told changes nothing in a
//	    follower that lacks the entry, or has another, and whoever is gone is not told.
//	    TestFollowersAreTold, TestWhatIsToldBindsNobodyElse, TestRemovedServersAreNotTold
//	C14 A node takes what follows the state that it has, whatever was never committed stood there in its log. Where a state
//	    from another node replaces a log with another past, which reached as far, the node ends (ErrStartAgain) and
//	    takes it once it was started again: Raft would go on to believe in that log (hashicorp/raft#697).
//	    TestReplacedLogLetsTheNodeGoOn, TestCutLogIsToldWhatFollowsTheState, TestCutLeavesTheStatesLastEntry
//	C15 The only voter of a configuration waits for nobody's heartbeat before it leads.
//	    TestSoleVoterLeadsAtOnce
//	C16 A node that was away, however long, is sent what it lacks within half a second of its return, unless that is a whole
//	    state; where nothing refused what was sent to it, as its machine was off, up to 3 s later, and up to 10 s where it was
//	    away for less than about a minute: so long a try may wait on a connection from before. Who was removed, or has another
//	    leader, is not tried any more.
//	    TestWhoWasAwayIsReachedAtOnce, TestWhoNeedNotBeReachedIsLeftAlone
//	C17 A node whose leader lacks what was committed, and is in the state here, ends, and keeps what it has.
//	    TestAppliedIsNotTakenBack
//
// Until a node of C14 has ended, it votes by the end of the log that it had. That binds nobody wrongly: what the state has was
// committed without this node, by voters whose logs end in a later term than that log, and who refuse it. Whom it
// votes for needs the vote of one of them as well.
//
// What is left: a node that was sent a state, and then entries behind it that were never committed, and hears of a leader
// without those entries whose own state has not gone on, is sent that state again until it has; nothing is lost by that.
package consensus
