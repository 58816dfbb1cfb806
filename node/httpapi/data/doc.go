// Package data is the data plane: the listener that answers validations. It bounds and reads
// the question, has it decided, and writes the answer. It changes nothing, needs no role (it
// tells only about what is presented), and shares neither queue nor limits with the control
// plane.
//
// Promises:
//
//	Q1  A question that cannot be read strictly gets a problem that names what is wrong, and
//	    is not guessed at.
//	    TestBadRequests, TestReadBody, FuzzReadBody
//	Q2  Whatever is asked, no credential comes back or is logged.
//	    TestCredentialStaysInside
//	Q3  Of two revisions that an answer must be based on, the later one counts.
//	    TestMinRevision
//	Q4  What is over a limit, or breaks inside, gets its own status, and the server goes on.
//	    TestLimits, TestPanic
//	Q6  The verdicts of a batch are in the order of its questions, and all or none is decided.
//	    TestBatchKeepsItsOrder, TestBadBatches
//	Q7  Why a credential is refused is explained to operators with the role only.
//	    TestOnlyOperatorsHaveItExplained, TestWhoMayAsk
//	Q8  A question waits for the revision that it asks for, a bounded while and with a bounded
//	    number of others, and holds up nobody else; then it is decided, whatever came of it.
//	    TestWaitsForItsRevision, TestWaitIsBounded, TestBatchWaitsOnce, TestCloseEndsTheWait
//	Q9  Where a request ends is seen by everybody alike, or it is refused and nothing behind it is answered.
//	    TestNothingIsHiddenBehindARequest, TestInStepWithNginx, TestWhatIsClearIsAnswered
//	Q10 Who sends slowly is cut off.
//	    TestSlowSendersAreCutOff
//	Q11 What validations take of the processors is known, so that others can make room for them.
//	    TestWhatValidationsTakeIsCounted
//	Q5  After Close nothing is served, also when Close came before Serve.
//	    TestCloseBeforeServe, TestClose
package data
