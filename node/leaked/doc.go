// Package leaked does something about secrets that were found where anyone can read them: it looks up
// whose each is, revokes or marks the API keys, ends the portal sessions, and says what it did. How a
// report looks and who signed it, room node/httpapi/leaks says; who may send one, room
// node/httpapi/control.
//
// Promises:
//
//	K1  What has leaked does not go on without a trace: an API key is revoked, or marked where the node is
//	    set so or the last admin would be locked out; a portal session is ended. What was done is told.
//	    TestWhatIsDone, TestLastAdminIsMarked
//	K2  Whoever is bound learns and ends nothing of what it may not revoke.
//	    TestBoundReporters
//	K3  A report that comes again does nothing again, and what one of it cannot have done to it keeps nothing
//	    of the others back.
//	    TestReportAgain
package leaked
