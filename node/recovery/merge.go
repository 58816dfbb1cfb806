package recovery

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"veto/record"
	"veto/replication"
	"veto/replication/consensus"
	"veto/replication/machine"
	"veto/replication/store"
)

// Merged tells what came of the revocations that a survivor knew.
type Merged struct {
	From string `json:"from"`
	// Through is the last revision that the survivor had; 0 if it does not tell.
	Through record.Revision `json:"through,omitempty"`
	// Lacks are parts of its data directory of which there is only an empty directory.
	Lacks []string `json:"lacks,omitempty"`
	// Revocations are how many it knew, Added those of them that the backup had not, and Refused those that
	// are of no issuer, key or consumer that the backup knows, or are none.
	Revocations uint64 `json:"revocations"`
	Added       uint64 `json:"added"`
	Refused     uint64 `json:"refused"`
	// Refusals tell of the first of those that were refused.
	Refusals []string `json:"refusals,omitempty"`
}

const (
	maxRefusals = 20
	maxPart     = record.MaxCommand / 4 // of values and reasons, in bytes
)

// refuse notes what was not taken.
func (m *Merged) refuse(what, why string) {
	m.Refused++
	if len(m.Refusals) < maxRefusals {
		m.Refusals = append(m.Refusals, what+": "+why)
	}
}

// survivor knows what was revoked.
type survivor interface {
	// through is the last revision that it has; 0 if it does not tell.
	through() record.Revision
	// without are the parts that it lacks, and with them what it may have known.
	without() []string
	// each gives every revocation, with where it is. Wrong is called with what is none.
	each(fn func(where string, r record.Revocation) error, wrong func(where, why string)) error
	Close() error
}

// merger adds revocations to a state that is no node's yet: as parts of a stream, as the log would bring them, but
// that there is no log. So the audit trail and the feeds tell of them.
type merger struct {
	store   *store.Store
	command record.Command
	term    uint64
	key     record.DigestKey
	buckets []record.Bucket
	part    record.Import
	places  []string // of the part's items
	bytes   int
	alike   map[string]int
	refused func(record.Revocation) error
	out     *Merged
}

func (c *Config) merge(ctx context.Context, s *store.Store, path string, from survivor) (m Merged, err error) {
	m.From = path
	found, _, err := machine.Cluster(s)
	if err != nil {
		return m, err
	}
	m.Through, m.Lacks = from.through(), from.without()
	x := &merger{
		store: s, key: found.DigestKey, term: s.Applied().Term, out: &m, alike: map[string]int{}, refused: c.Refused,
		command: record.Command{
			Stamp: c.now(), From: record.Origin{Node: c.Node.NodeID, Way: record.WayCluster, Address: filepath.Base(path)},
			Request: record.Request{Key: "restore-" + strings.ToLower(ulid.Make().String())},
		},
	}
	x.part.First = 1
	if err := x.readBuckets(); err != nil {
		return m, err
	}
	err = from.each(func(where string, r record.Revocation) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return x.add(where, r)
	}, m.refuse)
	if err == nil {
		err = x.flush()
	}
	return m, errors.Join(err, s.Sync(store.Applied{}))
}

// readBuckets finds in which buckets there are revocations, without reading what is in them.
func (x *merger) readBuckets() error {
	x.buckets = nil
	for from := (record.Entry{}); ; {
		more := false
		err := x.store.Revocations(from, func(e record.Entry) bool {
			x.buckets, more = append(x.buckets, e.Bucket), e.Bucket+1 != 0
			from = record.Entry{Bucket: e.Bucket + 1}
			return false
		})
		if err != nil || !more {
			return err
		}
	}
}

// add has the revocation be added, unless there is one that denies all that it does.
func (x *merger) add(where string, r record.Revocation) error {
	if r.OfCanary() {
		return nil
	}
	x.out.Revocations++
	_, there, err := x.store.Revoked(x.key.Digest(r.Name), r.Cutoff(), x.buckets)
	if err != nil || there {
		return err
	}
	like := record.Revocation{Name: r.Name, NotBefore: r.NotBefore, Expiry: r.Expiry, Reason: r.Reason}
	like.Value = ""
	id := fmt.Sprintf("%d %q %v %d %d %q", like.Target, like.Issuer, like.And, unix(like.NotBefore), unix(like.Expiry), like.Reason)
	at, known := x.alike[id]
	if !known {
		at = len(x.part.Alike)
		x.alike[id], x.part.Alike = at, append(x.part.Alike, like)
		x.bytes += len(id)
	}
	x.part.Items, x.places = append(x.part.Items, record.ImportItem{Alike: at, Value: r.Value}), append(x.places, where)
	x.bytes += len(r.Value)
	if len(x.part.Items) < record.MaxImportAt(record.LevelFirst) && x.bytes < maxPart {
		return nil
	}
	return x.flush()
}

func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// flush does the part, at a revision of its own.
func (x *merger) flush() error {
	if len(x.part.Items) == 0 {
		return nil
	}
	x.command.Body = x.part
	b, err := x.command.Encode()
	if err != nil {
		return err
	}
	results, err := replication.Replay(x.store, []consensus.Entry{{Index: x.store.Applied().Index + 1, Term: x.term, Command: b}})
	if err != nil {
		return err
	}
	if results[0].Rejection != nil {
		return results[0].Rejection
	}
	for _, r := range results[0].Refused {
		at := r.Number - x.part.First
		x.out.refuse(x.places[at], r.Rejection.Detail)
		if x.refused == nil {
			continue
		}
		was := x.part.Alike[x.part.Items[at].Alike]
		was.Value = x.part.Items[at].Value
		if err := x.refused(was); err != nil {
			return err
		}
	}
	x.out.Added += uint64(len(x.part.Items) - len(results[0].Refused))
	x.part = record.Import{First: x.part.First + uint64(len(x.part.Items))}
	x.places, x.bytes = nil, 0
	clear(x.alike)
	return x.readBuckets()
}
