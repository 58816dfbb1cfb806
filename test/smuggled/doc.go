// Package smuggled has requests, for tests, of which two readers could think differently where they
// end: with them somebody hides a request behind one's own, from a proxy that passes it on, for it to be
// answered in another's name. And it runs nginx as such a proxy.
package smuggled
