package backup

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"veto/record"
)

const (
	magic     = "VETO\x00backup\x01"
	maxHeader = 16 << 10
	maxChunk  = 64 << 10
)

// Header says what a backup holds.
type Header struct {
	ClusterID string `json:"cluster" cbor:"1,keyasint"`
	// Revision up to which it holds everything, and Term of the log's entry there.
	Revision record.Revision `json:"revision" cbor:"2,keyasint"`
	Term     uint64          `json:"-" cbor:"3,keyasint"`
	Level    record.Level    `json:"level" cbor:"4,keyasint"`
	// TakenAt is when it was taken, by the clock of Node. AsOf is the time up to which the node knew its
	// state to be complete: what was changed later may be missing. Zero if it did not know.
	TakenAt time.Time `json:"taken_at" cbor:"5,keyasint"`
	AsOf    time.Time `json:"as_of,omitzero" cbor:"6,keyasint,omitzero"`
	Node    string    `json:"node" cbor:"7,keyasint"`
	// Version of the program that wrote it.
	Version string `json:"version" cbor:"8,keyasint"`
}

// ErrNotBackup says that what is read does not begin as a backup does.
var ErrNotBackup = errors.New("this is no backup of Veto, or one that is encrypted")

// Broken says that a backup is not the one that was written.
type Broken struct {
	// At is how many bytes of it were read.
	At  int64
	Why string
}

func (b *Broken) Error() string {
	return fmt.Sprintf("the backup is not whole: %s (byte %d)", b.Why, b.At)
}

// What may be wrong.
const (
	whyCut      = "it ends before its end, so it was cut off"
	whyHeader   = "its header cannot be read"
	whyChunk    = "it was changed or damaged"
	whySum      = "its checksum is wrong, so it was changed or damaged"
	whyFollowed = "something follows its end"
)

// Write writes a backup. It is whole only if there is no error.
func Write(w io.Writer, h Header, state io.WriterTo) error {
	b, err := record.Encode(h)
	if err != nil {
		return err
	}
	if len(b) > maxHeader {
		return errors.New("backup: the header is too long")
	}
	sum := sha256.New()
	out := io.MultiWriter(w, sum)
	head := binary.BigEndian.AppendUint32([]byte(magic), uint32(len(b)))
	if _, err := out.Write(append(head, b...)); err != nil {
		return err
	}
	buffered := bufio.NewWriterSize(chunks{out}, maxChunk)
	if _, err := state.WriteTo(buffered); err != nil {
		return err
	}
	if err := buffered.Flush(); err != nil {
		return err
	}
	if _, err := out.Write(make([]byte, 4)); err != nil {
		return err
	}
	_, err = w.Write(sum.Sum(nil))
	return err
}

// chunks writes what it is given as chunks, none of which is empty.
type chunks struct{ w io.Writer }

func (c chunks) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		some := p[:min(len(p), maxChunk)]
		if _, err := c.w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(some))), some...)); err != nil {
			return n, err
		}
		n, p = n+len(some), p[len(some):]
	}
	return n, nil
}

// Reader reads the state of a backup. Its Read gives io.EOF only when the sum of the whole was right and
// nothing follows: until then nothing that it gave is to be believed.
type Reader struct {
	Header Header

	in   *bufio.Reader
	sum  hash.Hash
	at   int64
	left int // of the chunk
	err  error
}

// Open reads the header. The errors, here and of Read, are ErrNotBackup, *Broken, and those of r.
func Open(r io.Reader) (*Reader, error) {
	b := &Reader{in: bufio.NewReaderSize(r, maxChunk), sum: sha256.New()}
	begin := make([]byte, len(magic))
	if err := b.whole(begin); err != nil {
		var cut *Broken
		if errors.As(err, &cut) {
			err = ErrNotBackup
		}
		return nil, err
	}
	if !bytes.Equal(begin, []byte(magic)) {
		return nil, ErrNotBackup
	}
	length, err := b.number()
	if err != nil {
		return nil, err
	}
	if length > maxHeader {
		return nil, b.broken(whyHeader)
	}
	header := make([]byte, length)
	if err := b.whole(header); err != nil {
		return nil, err
	}
	if record.Decode(header, &b.Header) != nil {
		return nil, b.broken(whyHeader)
	}
	return b, nil
}

func (b *Reader) broken(why string) error { return &Broken{At: b.at, Why: why} }

// whole fills p, and sums it up.
func (b *Reader) whole(p []byte) error {
	n, err := io.ReadFull(b.in, p)
	b.at += int64(n)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return b.broken(whyCut)
	}
	if err != nil {
		return err
	}
	_, _ = b.sum.Write(p) // a hash never fails
	return nil
}

func (b *Reader) number() (uint32, error) {
	var p [4]byte
	err := b.whole(p[:])
	return binary.BigEndian.Uint32(p[:]), err
}

// Read gives the state.
func (b *Reader) Read(p []byte) (int, error) {
	if b.err != nil || len(p) == 0 {
		return 0, b.err
	}
	if b.left == 0 {
		if b.err = b.next(); b.err != nil {
			return 0, b.err
		}
	}
	p = p[:min(len(p), b.left)]
	if b.err = b.whole(p); b.err != nil {
		return 0, b.err
	}
	b.left -= len(p)
	return len(p), nil
}

// next begins a chunk; io.EOF behind the last.
func (b *Reader) next() error {
	n, err := b.number()
	switch {
	case err != nil:
		return err
	case n > maxChunk:
		return b.broken(whyChunk)
	case n > 0:
		b.left = int(n)
		return nil
	}
	want := b.sum.Sum(nil)
	got := make([]byte, len(want))
	if err := b.whole(got); err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return b.broken(whySum)
	}
	switch _, err := b.in.ReadByte(); {
	case err == nil:
		return b.broken(whyFollowed)
	case !errors.Is(err, io.EOF):
		return err
	}
	return io.EOF
}

// Finish reads what is left, and tells whether the backup is whole.
func (b *Reader) Finish() error {
	_, err := io.Copy(io.Discard, b)
	return err
}
