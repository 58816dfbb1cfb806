package index_test

import (
	"bytes"
	"cmp"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"veto/record"
	"veto/replication/index"
)

// disk is a Disk in memory.
type disk struct {
	mu      sync.RWMutex
	entries []record.Entry // in order
	failure atomic.Pointer[error]
	asked   atomic.Int64
	read    atomic.Int64                  // entries, one after the other
	between atomic.Pointer[func(n int64)] // called with the number of each entry that is read
}

func order(a, b record.Entry) int {
	return cmp.Or(cmp.Compare(a.Bucket, b.Bucket), bytes.Compare(a.Digest[:], b.Digest[:]), cmp.Compare(a.Cutoff, b.Cutoff))
}

func (k *disk) Revoked(d record.Digest, issuedAt int64, buckets []record.Bucket) (record.Bucket, bool, error) {
	k.asked.Add(1)
	if failure := k.failure.Load(); failure != nil {
		return 0, false, *failure
	}
	k.mu.RLock()
	defer k.mu.RUnlock()
	for _, b := range buckets {
		at, _ := slices.BinarySearchFunc(k.entries, record.Entry{Bucket: b, Digest: d}, order)
		for ; at < len(k.entries) && k.entries[at].Bucket == b && k.entries[at].Digest == d; at++ {
			if issuedAt <= k.entries[at].Cutoff {
				return b, true, nil
			}
		}
	}
	return 0, false, nil
}

// Revocations goes through what there was when it was called, as a disk does.
func (k *disk) Revocations(from record.Entry, fn func(record.Entry) bool) error {
	k.mu.RLock()
	at, _ := slices.BinarySearchFunc(k.entries, from, order)
	var entries []record.Entry // up to the first of the next bucket: nobody reads on
	for _, e := range k.entries[at:min(at+5000, len(k.entries))] {
		if entries = append(entries, e); e.Bucket != from.Bucket {
			break
		}
	}
	k.mu.RUnlock()
	for _, e := range entries {
		if failure := k.failure.Load(); failure != nil {
			return *failure
		}
		n := k.read.Add(1)
		if between := k.between.Load(); between != nil {
			(*between)(n)
		}
		if !fn(e) {
			return nil
		}
	}
	return nil
}

func (k *disk) commit(changes []record.Change) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range changes {
		switch r := c.Record.(type) {
		case *record.Expiry:
			k.entries = slices.DeleteFunc(k.entries, func(e record.Entry) bool { return e.Bucket < r.Before })
		case *record.Revocation:
			e := record.Entry{Bucket: r.Bucket(), Digest: digestKey.Digest(r.Name), Cutoff: r.Cutoff()}
			at, there := slices.BinarySearchFunc(k.entries, e, order)
			if c.Gone && there {
				k.entries = slices.Delete(k.entries, at, at+1)
			} else if !c.Gone && !there {
				k.entries = slices.Insert(k.entries, at, e)
			}
		}
	}
}

// node is an index with a disk, changed in the order in which a node changes them.
type node struct {
	*index.Index
	disk *disk
}

func newNode(t testing.TB, exactMax int) node {
	t.Helper()
	k := &disk{}
	n := node{index.Open(index.Config{OnIssuers: ignore, Disk: k, ExactMax: exactMax, Log: slog.New(slog.DiscardHandler)}), k}
	t.Cleanup(func() { _ = n.Close() })
	if err := n.Load(none, "c", digestKey, 0); err != nil {
		t.Fatal(err)
	}
	return n
}

// Apply does for revocations what the machine does, which makes their digests.
func (n node) Apply(changes []record.Change, rev record.Revision) {
	for i := range changes {
		if r, ok := changes[i].Record.(*record.Revocation); ok {
			changes[i].Digest = digestKey.Digest(r.Name)
		}
	}
	n.disk.commit(changes)
	n.Index.Apply(changes, rev)
}

func (n node) filtered() bool {
	for _, c := range n.Stats().Classes {
		if c.Filtered {
			return true
		}
	}
	return false
}
