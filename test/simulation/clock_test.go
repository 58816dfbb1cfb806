package simulation

import (
	"encoding/binary"
	"io"
	"math/rand/v2"
	"sync"
	"time"
	"unsafe"
)

// setClock moves the time of day and leaves the monotonic reading as it is, as whoever sets a clock does:
// Add would move both. Times of time.Now have their seconds from bit 30 of their first word on.
func setClock(t time.Time, seconds int64) time.Time {
	*(*uint64)(unsafe.Pointer(&t)) += uint64(seconds) << 30
	return t
}

// bytesOf are random bytes of a seed, for whoever asks.
type bytesOf struct {
	mu sync.Mutex
	r  *rand.ChaCha8
}

func seededBytes(seed uint64) *bytesOf {
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], seed)
	return &bytesOf{r: rand.NewChaCha8(key)}
}

func (b *bytesOf) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.r.Read(p)
}

var _ io.Reader = (*bytesOf)(nil)

func number(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }

func numberOf(b []byte) uint64 {
	if len(b) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}
