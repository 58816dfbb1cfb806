// Package simulation runs whole clusters in one process, in made-up time, by seed.
package simulation
