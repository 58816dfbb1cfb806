package constant

import "sync"

// most is how many are remembered.
const most = 16384

// Store has the values. It may be used from anywhere.
type Store interface {
	Get(key []byte) (value []byte, ok bool, err error)
}

// Values remembers those of a store that do not change while they are asked for. It may be used from anywhere.
type Values struct {
	store Store
	mu    sync.Mutex
	kept  map[string][]byte
}

// New remembers nothing yet.
func New(s Store) *Values { return &Values{store: s, kept: map[string][]byte{}} }

// Get is the store's. The value is shared. It may read the disk.
func (v *Values) Get(key []byte) (value []byte, ok bool, err error) {
	v.mu.Lock()
	value, ok = v.kept[string(key)]
	v.mu.Unlock()
	if ok {
		return value, true, nil
	}
	if value, ok, err = v.store.Get(key); err != nil || !ok {
		return nil, false, err //nolint:wrapcheck // it is the store's
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.kept) >= most {
		clear(v.kept)
	}
	v.kept[string(key)] = value
	return value, true, nil
}
