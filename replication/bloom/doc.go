// Package bloom is a Bloom filter that many may add to and ask at once, without a lock: it says no, or maybe.
// It does not grow, forgets nothing, and knows nothing of what its keys are of.
//
// Promises:
//
//	F1  What was added is never denied, whoever adds beside.
//	    TestNeverSaysNoToWhatItHas
//	F2  As long as it holds what it has room for, it says maybe to fewer than one in a thousand of the others.
//	    TestSeldomSaysMaybe
package bloom
