package notices

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"

	"veto/record"
)

// word is one thing that is told: one of these.
type word struct {
	Notice *record.Notice `cbor:"1,keyasint,omitempty"`
	Beacon *record.Beacon `cbor:"2,keyasint,omitempty"`
}

const (
	// maxWord bounds one word, in bytes.
	maxWord   = 1 << 20
	headBytes = 4
)

// ping is a word of nothing, which asks for an answer.
var ping = [headBytes]byte{}

// pong is that answer.
var pong = [1]byte{}

var errTooLong = fmt.Errorf("a word of over %d bytes", maxWord)

// frame is how a word is sent: behind its length, as four bytes with the greatest first.
func (w *word) frame() ([]byte, error) {
	b, err := record.Encode(w)
	if err != nil {
		return nil, err
	}
	if len(b) > maxWord {
		return nil, errTooLong
	}
	return append(binary.BigEndian.AppendUint32(make([]byte, 0, headBytes+len(b)), uint32(len(b))), b...), nil //nolint:gosec // bounded by maxWord
}

// reader reads words. What it gives is good until the next.
type reader struct {
	from *bufio.Reader
	room []byte
}

// next is the next word's bytes; none of a ping. Nothing is read of a word that is too long.
func (r *reader) next() ([]byte, error) {
	var head [headBytes]byte
	if _, err := io.ReadFull(r.from, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxWord {
		return nil, errTooLong
	}
	if int(n) > cap(r.room) {
		r.room = make([]byte, n)
	}
	b := r.room[:n]
	_, err := io.ReadFull(r.from, b)
	return b, err
}

// parse reads a word; false of what is none, or says nothing.
func parse(b []byte) (w word, ok bool) {
	err := record.Decode(b, &w)
	return w, err == nil && (w.Notice != nil || w.Beacon != nil)
}
