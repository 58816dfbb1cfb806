// Package grants keeps ready which scopes API keys have by themselves and by their roles, so that
// whoever asks for a key's scopes reads one pointer. It knows the roles, and of keys no more than
// how many have the same; it checks nothing and finds no key.
//
// Keys with the same scopes, roles and bounds share a set, which has a number, and what they are granted. So a change of a role
// costs as much as there are different such, however many keys have them. One goroutine writes.
//
// Promises:
//
//	G1  What a key is granted is its own scopes and those of its roles, as they were given last, each
//	    once; by whatever way it came to that.
//	    TestAgainstModel, TestManyScopes
//	G2  What was read does not change under the reader, and is never a mix of two states of a role.
//	    TestReadersSeeOneState
//	G3  Nothing is kept for keys and roles that are gone.
//	    TestNothingIsLeft
package grants
