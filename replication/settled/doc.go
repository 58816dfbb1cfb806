// Package settled remembers what the disk has answered, for names that a filter does not rule out:
// so that a token which comes again and again costs the disk once, be it one that is revoked or one
// that the filter takes for such. It holds a fixed number of answers; a new one takes the place of
// an old one. It knows nothing of disks and filters.
//
// Promises:
//
//	S1  An answer is what the disk would say: one that was asked for before a change of its name is
//	    never found after Forget has returned.
//	    TestAnswersAreTheDisks, TestForgottenWhileAsked
//	S2  An answer is for one name and one time of issue.
//	    TestAnswersForOneTime
//	S3  It takes a fixed room, however many are asked for.
//	    TestRoomIsFixed
package settled
