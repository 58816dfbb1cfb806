// Package said keeps what a program or a log has said, for tests that look at it meanwhile.
package said
