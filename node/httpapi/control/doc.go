// Package control is the control plane: the listener through which operators change and see
// the state. It turns requests into commands and records into answers; what a command means
// it does not know. Every operation names the role that it takes, and the OpenAPI document is
// made from the operations themselves.
//
// Promises:
//
//	L1  No operation answers without an operator's key of the right role, except those that
//	    say so (health and the API's own description).
//	    TestEveryOperationHasARole
//	L2  A secret is in one answer only, the one that made it.
//	    TestSecretIsShownOnce
package control
