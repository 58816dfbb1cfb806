package recovery

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"veto/record"
	"veto/replication/backup"
	"veto/replication/machine"
	"veto/replication/store"
)

// Contents is what a backup holds.
type Contents struct {
	backup.Header
	Records     uint64 `json:"records"`
	Issuers     uint64 `json:"issuers"`
	Consumers   uint64 `json:"consumers"`
	Keys        uint64 `json:"keys"`
	Revocations uint64 `json:"revocations"` // without the canary's, as everywhere
	// AuditHead is the last entry of the audit trail, as `veto audit head` shows it; empty if it is not chained.
	AuditHead string `json:"audit_head,omitempty"`
	// WrappedBy are the fingerprints, each once, of the keys without which no API key in it can be checked.
	WrappedBy []string `json:"wrapped_by,omitempty"`
}

// Verify reads a backup to its end and tells what it holds. The errors are those of backup.Open and of its
// Reader; no backup is whole that gives one. It keeps none of it.
func Verify(r io.Reader) (Contents, error) {
	b, err := backup.Open(r)
	if err != nil {
		return Contents{}, err
	}
	c := Contents{Header: b.Header}
	few := meta{}
	applied, err := store.ReadStream(b, func(key, value []byte) error { return c.count(few, key, value) })
	if whole := b.Finish(); whole != nil {
		return c, whole // which says more
	}
	if err != nil {
		return c, err
	}
	if err := agrees(b.Header, applied, few); err != nil {
		return c, err
	}
	head, ok, err := machine.AuditHead(few)
	if ok {
		c.AuditHead = head.String()
	}
	return c, err
}

func (c *Contents) count(few meta, key, value []byte) error {
	c.Records++
	switch record.Table(key[0]) {
	case record.TableIssuers:
		c.Issuers++
	case record.TableConsumers:
		c.Consumers++
	case record.TableKeys:
		c.Keys++
	case record.TableRevocations:
		r, whole, err := record.StoredRevocation(key, value, func([]byte) ([]byte, bool, error) { return nil, false, nil })
		if err != nil {
			return err
		}
		if !whole || !r.OfCanary() { // which is never of a stream, and so always whole
			c.Revocations++
		}
	case record.TablePeppers:
		var p record.Pepper
		if err := record.Decode(value, &p); err != nil {
			return err
		}
		if !slices.Contains(c.WrappedBy, p.WrappedBy) {
			c.WrappedBy = append(c.WrappedBy, p.WrappedBy)
		}
	case record.TableMeta:
		few[string(key)] = value
	}
	return nil
}

// agrees refuses a backup whose header is not that of its state, and one that this program does not know.
func agrees(h backup.Header, a store.Applied, s machine.Reader) error {
	f, ok, err := machine.Cluster(s)
	if err != nil {
		return err
	}
	if !ok || f.ClusterID != h.ClusterID || a.Index != uint64(h.Revision) {
		return errors.New("the backup is not whole: its header is not that of the state in it")
	}
	level, err := machine.Level(s)
	if err == nil && level > record.LevelNewest {
		err = fmt.Errorf("the backup is of level %d, and this version of veto knows %d: use one that is as new as %s, which wrote it", level, record.LevelNewest, h.Version)
	}
	return err
}

// meta are the few records of a state that tell of the state itself.
type meta map[string][]byte

func (m meta) Get(key []byte) ([]byte, bool, error) {
	v, ok := m[string(key)]
	return bytes.Clone(v), ok, nil
}

// Scan is of no use to those who read these few by their names.
func (m meta) Scan(_, _ []byte, _ func(key, value []byte) (bool, error)) error { return nil }
