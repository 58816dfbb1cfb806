// Package history is what clients of a cluster saw, and the model that it is held against.
//
// test/faults writes it down of real processes, and test/simulation of nodes in one process. Porcupine
// looks whether there is an order of the calls, each between its beginning and its end, in which every
// answer is right. It knows nothing of how nodes are asked or broken.
package history
