package simulation

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
)

// disk is what one node has, and what is left of it when the machine falls.
type disk struct {
	files   *vfs.MemFS
	journal *journal
}

func newDisk(delay func() time.Duration) *disk {
	return &disk{vfs.NewCrashableMem(), &journal{delay: delay, kept: map[string][]byte{}}}
}

// fall is the disk as the machine's fall leaves it: of what was not synced so much, of entries on their
// way to the log any number. Both are of one moment: while the journal is held, nothing is applied that
// it has not.
func (d *disk) fall(random *rand.Rand, percent int) *disk {
	d.journal.mu.Lock()
	defer d.journal.mu.Unlock()
	return &disk{
		files:   d.files.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: random}),
		journal: d.journal.fall(random),
	}
}

// journal is Raft's log and what it remembers besides, in memory. What a method has answered is there
// after a fall.
type journal struct {
	delay func() time.Duration // of a sync

	mu      sync.Mutex
	first   uint64 // of entries, if there are any
	entries []*raft.Log
	writing []*raft.Log
	kept    map[string][]byte
}

// fall is called with the lock held.
func (j *journal) fall(random *rand.Rand) *journal {
	after := &journal{delay: j.delay, first: j.first, entries: slices.Clone(j.entries), kept: map[string][]byte{}}
	for k, v := range j.kept {
		after.kept[k] = v
	}
	after.append(j.writing[:random.IntN(len(j.writing)+1)])
	return after
}

// append is called with the lock held.
func (j *journal) append(logs []*raft.Log) {
	if len(logs) == 0 {
		return
	}
	if len(j.entries) == 0 {
		j.first = logs[0].Index
	}
	j.entries = append(j.entries, logs...)
}

func (j *journal) FirstIndex() (uint64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.entries) == 0 {
		return 0, nil
	}
	return j.first, nil
}

func (j *journal) LastIndex() (uint64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.entries) == 0 {
		return 0, nil
	}
	return j.first + uint64(len(j.entries)) - 1, nil
}

func (j *journal) GetLog(index uint64, log *raft.Log) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if index < j.first || index >= j.first+uint64(len(j.entries)) {
		return raft.ErrLogNotFound
	}
	*log = *j.entries[index-j.first]
	return nil
}

func (j *journal) StoreLog(log *raft.Log) error { return j.StoreLogs([]*raft.Log{log}) }

func (j *journal) StoreLogs(logs []*raft.Log) error {
	own := make([]*raft.Log, len(logs))
	for i, l := range logs {
		one := *l
		one.Data = slices.Clone(l.Data)
		own[i] = &one
	}
	j.mu.Lock()
	if n := len(j.entries); n > 0 && own[0].Index != j.first+uint64(n) {
		j.mu.Unlock()
		return raft.ErrLogNotFound // as a log that takes no gaps
	}
	j.writing = own
	j.mu.Unlock()
	<-time.After(j.delay())
	j.mu.Lock()
	defer j.mu.Unlock()
	j.writing = nil
	j.append(own)
	return nil
}

func (j *journal) DeleteRange(from, to uint64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.entries) == 0 {
		return nil
	}
	end := j.first + uint64(len(j.entries))
	if from <= j.first {
		cut := min(to+1, end) - j.first
		j.entries, j.first = slices.Clone(j.entries[cut:]), j.first+cut
		return nil
	}
	j.entries = j.entries[:min(from, end)-j.first]
	return nil
}

// IsMonotonic says that there are no gaps, as raft-wal's log does.
func (j *journal) IsMonotonic() bool { return true }

func (j *journal) Set(key, value []byte) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.kept[string(key)] = slices.Clone(value)
	return nil
}

func (j *journal) Get(key []byte) ([]byte, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.kept[string(key)], nil
}

func (j *journal) SetUint64(key []byte, v uint64) error { return j.Set(key, number(v)) }

func (j *journal) GetUint64(key []byte) (uint64, error) {
	b, err := j.Get(key)
	return numberOf(b), err
}

func (j *journal) Close() error { return nil }
