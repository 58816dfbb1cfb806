package simulation

import (
	"encoding/binary"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
)

// setClock is a time by a clock that is wrong by so many seconds, with the monotonic reading that whoever
// sets a clock leaves as it is. Made-up time has none, and Add would move both: so it is written into the
// time as time.Now does, in seconds from 1885 on, nanoseconds, and what has passed.
func setClock(t, began time.Time, seconds int64) time.Time {
	const monotonic = 1 << 63
	made := struct {
		wall   uint64
		passed int64
		place  *time.Location
	}{monotonic | uint64(t.Unix()+seconds-first.Unix())<<30 | uint64(t.Nanosecond()), int64(t.Sub(began)) + 1, nil}
	return *(*time.Time)(unsafe.Pointer(&made))
}

var first = time.Date(1885, 1, 1, 0, 0, 0, 0, time.UTC)

func TestClockIsSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		before := setClock(began, began, 0)
		<-time.After(time.Second + 5)
		after := setClock(time.Now(), began, -3600)
		if d := after.Sub(before); d != time.Second+5 {
			t.Errorf("measured %s", d)
		}
		if d := after.Round(0).Sub(began); d != time.Second+5-time.Hour {
			t.Errorf("the clock went on by %s", d)
		}
		if !before.Round(0).Equal(began) {
			t.Errorf("%s is %s", began, before)
		}
	})
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
