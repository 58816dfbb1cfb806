package consensus

import (
	"io"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// reachable listens for Raft, at a free port if it is told none, and takes all entries that come.
func reachable(t *testing.T, address string) *raft.NetworkTransport {
	t.Helper()
	way, err := raft.NewTCPTransport(address, nil, 1, 10*time.Second, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { close(done); way.CloseStreams(); _ = way.Close() })
	go func() {
		for {
			select {
			case call := <-way.Consumer():
				call.Respond(&raft.AppendEntriesResponse{Success: true}, nil)
			case <-done:
				return
			}
		}
	}()
	return way
}

// C16
func TestWhoWasAwayIsReachedAtOnce(t *testing.T) {
	gone := reachable(t, "127.0.0.1:0")
	address := gone.LocalAddr()
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	from := reachable(t, "127.0.0.1:0")
	send := func(p patient) error {
		return p.AppendEntries("b", address, &raft.AppendEntriesRequest{Term: 7}, &raft.AppendEntriesResponse{})
	}
	tries := 0
	follows := func(uint64) bool { tries++; return false }
	if err := send(patient{from, follows, nil}); err == nil || tries != 1 {
		t.Errorf("who leads no more tried %d times: %v", tries, err)
	}
	ended := make(chan struct{})
	close(ended)
	leads := func(term uint64) bool { return term == 7 }
	if err := send(patient{from, leads, ended}); err == nil {
		t.Error("nobody was there")
	}
	tries = 0
	err := send(patient{from, func(uint64) bool {
		if tries++; tries == 3 {
			reachable(t, string(address))
		}
		return true
	}, nil})
	if err != nil || tries != 3 {
		t.Errorf("who was back after 3 tries was not reached after %d: %v", tries, err)
	}
}
