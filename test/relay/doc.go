// Package relay stands between programs and carries what is sent to one of them, each way a fixed time later:
// so that nodes on one machine are as far apart as regions are.
package relay
