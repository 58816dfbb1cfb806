// Package httpapi is what both HTTP listeners share: how an error becomes a status and a
// problem document (RFC 9457). The listeners are rooms data (questions) and control (changes).
//
// Promises:
//
//	H1  An error that is not known here tells its text to nobody outside.
//	    TestProblemOf
package httpapi
