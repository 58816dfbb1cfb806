package store

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"veto/record"
)

// Applied says which entries of the log the state holds, and the configuration of the
// cluster, opaque, as of the last entry that changed it.
type Applied struct {
	Index              uint64 `cbor:"1,keyasint"`
	Term               uint64 `cbor:"2,keyasint"`
	Configuration      []byte `cbor:"3,keyasint,omitempty"`
	ConfigurationIndex uint64 `cbor:"4,keyasint,omitempty"`
}

var appliedKey = record.TableMeta.Key([]byte("applied"))

func readApplied(r pebble.Reader) (Applied, error) {
	var a Applied
	value, closer, err := r.Get(appliedKey)
	if errors.Is(err, pebble.ErrNotFound) {
		return a, nil
	}
	if err != nil {
		return a, fmt.Errorf("store: %w", err)
	}
	err = record.Decode(value, &a)
	return a, errors.Join(err, closer.Close())
}

// merge returns the later of both, part by part.
func (a Applied) merge(b Applied) Applied {
	if b.Index > a.Index {
		a.Index, a.Term = b.Index, b.Term
	}
	if b.ConfigurationIndex > a.ConfigurationIndex {
		a.Configuration, a.ConfigurationIndex = b.Configuration, b.ConfigurationIndex
	}
	return a
}
