// Package health says what is wrong with a cluster, and what mends it, from what one of its nodes sees.
//
// It asks nobody and changes nothing: what it is given is all that it judges by, the same each time.
//
// Promises:
//
//	H1  What is wrong is said, what is not is not, and each with what mends it; the graver first.
//	    TestProblems, TestWhoseClockIsWrong, TestWhyANodeDoesNotAnswer
package health
