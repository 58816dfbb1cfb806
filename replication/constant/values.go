package alike

import "sync"

// most is how many are remembered.
const most = 16384

// Store has the values. It may be used from anywhere.
type Store interface {
	Get(key []byte) (value []byte, ok bool, err error)
}

// Common remembers values of a store that do not change while they are there. It may be used from anywhere.
type Common struct {
	store Store
	mu    sync.Mutex
	kept  map[string][]byte
}

// New remembers nothing yet.
func New(s Store) *Common { return &Common{store: s, kept: map[string][]byte{}} }

// Get is the store's. The value is shared. It may read the disk.
func (c *Common) Get(key []byte) (value []byte, ok bool, err error) {
	c.mu.Lock()
	value, ok = c.kept[string(key)]
	c.mu.Unlock()
	if ok {
		return value, true, nil
	}
	if value, ok, err = c.store.Get(key); err != nil || !ok {
		return nil, false, err //nolint:wrapcheck // it is the store's
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.kept) >= most {
		clear(c.kept)
	}
	c.kept[string(key)] = value
	return value, true, nil
}
