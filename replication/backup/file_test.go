package backup_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"reflect"
	"runtime"
	"testing"
	"time"

	"veto/replication/backup"
)

var header = backup.Header{
	ClusterID: "cluster-1", Revision: 1042, Term: 3, Level: 2, Node: "n1", Version: "test",
	TakenAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), AsOf: time.Date(2026, 1, 2, 3, 4, 4, 0, time.UTC),
}

func write(t testing.TB, state []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := backup.Write(&out, header, bytes.NewReader(state)); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// read tells what a file holds; an error if it is not whole.
func read(file []byte) (backup.Header, []byte, error) {
	b, err := backup.Open(bytes.NewReader(file))
	if err != nil {
		return backup.Header{}, nil, err
	}
	state, err := io.ReadAll(b)
	if err == nil {
		err = b.Finish() // at the end nothing is left
	}
	return b.Header, state, err
}

func stateOf(n int) []byte {
	state, random := make([]byte, n), rand.New(rand.NewPCG(1, 2))
	for i := range state {
		state[i] = byte(random.Uint32())
	}
	return state
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	for _, n := range []int{0, 1, 64<<10 - 1, 64 << 10, 64<<10 + 1, 300_000} {
		h, state, err := read(write(t, stateOf(n)))
		if err != nil || !bytes.Equal(state, stateOf(n)) || !reflect.DeepEqual(h, header) {
			t.Errorf("%d bytes: %v %+v", n, err, h)
		}
	}
}

// K1
func TestEveryByteCounts(t *testing.T) {
	for _, n := range []int{0, 700} {
		file := write(t, stateOf(n))
		for at := range file {
			for bit := range 8 {
				changed := bytes.Clone(file)
				changed[at] ^= 1 << bit
				if _, _, err := read(changed); err == nil {
					t.Fatalf("byte %d of %d, bit %d: not seen", at, len(file), bit)
				} else if broken := (*backup.Broken)(nil); !errors.As(err, &broken) && !errors.Is(err, backup.ErrNotBackup) {
					t.Fatalf("byte %d: %v", at, err)
				}
			}
		}
	}
}

// K1
func TestEveryCutIsSeen(t *testing.T) {
	file := write(t, stateOf(700))
	for end := range file {
		_, _, err := read(file[:end])
		if broken := (*backup.Broken)(nil); !errors.As(err, &broken) && !errors.Is(err, backup.ErrNotBackup) {
			t.Fatalf("cut to %d of %d bytes: %v", end, len(file), err)
		}
	}
	for _, more := range [][]byte{{0}, file, make([]byte, 100)} {
		if _, _, err := read(append(bytes.Clone(file), more...)); err == nil {
			t.Errorf("%d bytes more: not seen", len(more))
		}
	}
}

var errLost = errors.New("lost")

// An error of what is read from is told as it is, and not as damage.
func TestErrorsOfTheFile(t *testing.T) {
	file := write(t, stateOf(700))
	for _, n := range []int{0, 5, 20, len(file) / 2, len(file)} {
		b, err := backup.Open(io.MultiReader(bytes.NewReader(file[:n]), failing{}))
		if err == nil {
			err = b.Finish()
		}
		if !errors.Is(err, errLost) {
			t.Errorf("behind %d bytes: %v", n, err)
		}
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error)  { return 0, errLost }
func (failing) Write([]byte) (int, error) { return 0, errLost }

func TestErrorsOfTheWriter(t *testing.T) {
	for n := range len(write(t, stateOf(700))) {
		w := &full{left: n}
		if err := backup.Write(w, header, bytes.NewReader(stateOf(700))); !errors.Is(err, errLost) {
			t.Fatalf("full behind %d bytes: %v", n, err)
		}
	}
}

// full takes only so many bytes.
type full struct{ left int }

func (f *full) Write(p []byte) (int, error) {
	if len(p) > f.left {
		return f.left, errLost
	}
	f.left -= len(p)
	return len(p), nil
}

// K2
func TestLongLengthsAreRefused(t *testing.T) {
	file := write(t, stateOf(10))
	magic := len("VETO\x00backup\x01")
	head := int(binary.BigEndian.Uint32(file[magic:]))
	for _, at := range []int{magic, magic + 4 + head} {
		long := bytes.Clone(file)
		binary.BigEndian.PutUint32(long[at:], 1<<31)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _, err := read(long)
		runtime.ReadMemStats(&after)
		if allocated := after.TotalAlloc - before.TotalAlloc; err == nil || allocated > 1<<20 {
			t.Errorf("a length of 2 GiB at %d: %v, and %d bytes of memory", at, err, allocated)
		}
	}
}

func FuzzOpen(f *testing.F) {
	whole := write(f, stateOf(100))
	f.Add(whole)
	f.Add(whole[:50])
	f.Add([]byte("VETO\x00backup\x01"))
	f.Fuzz(func(t *testing.T, file []byte) {
		h, state, err := read(file)
		if err != nil {
			return
		}
		// What is taken for whole is what Write makes of it, to the byte, but for how a chunk was cut.
		var again bytes.Buffer
		if err := backup.Write(&again, h, bytes.NewReader(state)); err != nil {
			t.Fatal(err)
		}
		if h2, state2, err := read(again.Bytes()); err != nil || !reflect.DeepEqual(h, h2) || !bytes.Equal(state, state2) {
			t.Fatalf("%v: %+v %+v", err, h, h2)
		}
	})
}
