// Package machine starts what is measured, each in a process of its own, on the cores that it is given, and
// stops it: Veto, peers, Redis, etcd. It knows how much of the processor each has used.
//
// Whatever it starts ends with the Machine; its files are in one directory, which goes, too.
package machine
