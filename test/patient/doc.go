// Package patient has an HTTP client, for tests, that asks a node again while its cluster has no leader: on a busy machine a leader
// may hear nothing of the others for half a second, and then it is none until the next election.
package patient
