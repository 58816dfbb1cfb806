// Package natsproc runs a NATS server as a process of its own, for tests: as a user's would be, and
// so that it can be killed. It is built from the module that the node embeds.
package natsproc
