package bulk

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"net/http"
	"slices"
	"sync"

	"veto/node/httpapi"
	"veto/record"
)

// Bounds of a line and of a batch, in bytes.
const (
	maxBatch = 900 << 10 // beside the last line, and what the command has besides, below record.MaxCommand
	perItem  = 16 + record.SumLength
	overhead = 64
	maxAlike = 64 // kinds of lines in a batch
)

// batch is part of a stream: lines of it, of which some are refused already. Those stand in the
// command as items that are like none, so that the others have their numbers.
type batch struct {
	body    record.Import
	lines   int
	most    int // of them
	refused []Progress
	size    int
}

// reader makes batches of lines. One goroutine reads, another takes: what is there when no batch is
// on its way, so that what comes slowly is not kept waiting, and otherwise whole ones, so that what
// comes fast comes in large parts.
type reader struct {
	in    *bufio.Reader
	table *crc32.Table
	named func([]byte) (record.Revocation, error)
	turn  Turn
	most  func() int // lines in a batch that begins now

	mu      sync.Mutex
	changed *sync.Cond // of all below
	batch   batch
	away    int // batches that were taken and have not landed
	line    uint64
	done    uint64   // how far the stream had come before: those lines need not be understood again,
	missing []uint64 // but for these, which were refused
	sum     uint32   // of all lines so far
	ended   bool     // nothing more is read
	err     error    // why, if that is not the end of the stream
}

func newReader(in io.Reader, named func([]byte) (record.Revocation, error), turn Turn, most func() int) *reader {
	r := &reader{turn: turn, in: bufio.NewReaderSize(outOfTurn{in, turn}, record.MaxRevocationText+1), table: crc32.MakeTable(crc32.Castagnoli), named: named, most: most}
	r.changed = sync.NewCond(&r.mu)
	r.batch = r.following()
	return r
}

// outOfTurn leaves the turn before it waits for the sender.
type outOfTurn struct {
	io.Reader
	turn Turn
}

func (o outOfTurn) Read(b []byte) (int, error) {
	o.turn.Leave()
	return o.Reader.Read(b) //nolint:wrapcheck // bufio looks at what it is
}

// read reads to the end of the stream, or until stop.
func (r *reader) read(ctx context.Context) {
	defer r.turn.Leave()
	for {
		line, long, err := r.next()
		if (len(line) > 0 || err == nil) && !r.put(ctx, line, long) {
			return
		}
		if err != nil {
			r.end(err)
			return
		}
	}
}

// put adds a line to the batch, when there is room. Without it there is no line after it: each has its number.
func (r *reader) put(ctx context.Context, line []byte, long bool) bool {
	r.mu.Lock()
	_, missing := slices.BinarySearch(r.missing, r.line+1)
	known := r.line < r.done && !missing
	r.mu.Unlock()
	var one record.Revocation
	var err error
	if !known {
		if err := r.turn.Share(ctx); err != nil {
			r.end(cutOff())
			return false
		}
		if long {
			err = httpapi.TooLarge("a line", record.MaxRevocationText)
		} else {
			one, err = r.named(line)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.full() && !r.ended {
		r.turn.Leave()
		r.changed.Wait()
	}
	r.line++
	r.sum = crc32.Update(crc32.Update(r.sum, r.table, line), r.table, []byte{'\n'})
	r.batch.add(r.line, one, known, err)
	r.batch.body.Sums = binary.BigEndian.AppendUint32(r.batch.body.Sums, r.sum)
	if r.batch.lines == 1 || r.full() {
		r.changed.Broadcast()
	}
	return true
}

// end notes that nothing more comes.
func (r *reader) end(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !errors.Is(err, io.EOF) && !r.ended {
		r.err = err
	}
	r.ended = true
	r.changed.Broadcast()
}

// take gives what was read since the last: once there is a whole batch, or something and no batch is
// on its way; at the end it gives nothing.
func (r *reader) take() (batch, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for !r.ended && (r.batch.lines == 0 || r.away > 0 && !r.full()) {
		r.changed.Wait()
	}
	b := r.batch
	r.away++
	r.batch = r.following()
	r.changed.Broadcast()
	return b, b.lines > 0
}

// following is the batch that begins after the lines so far.
func (r *reader) following() batch {
	n := len(r.batch.body.Items) // there may be as many again
	return batch{most: r.most(), body: record.Import{
		First: r.line + 1, Items: make([]record.ImportItem, 0, n),
		Sums: binary.BigEndian.AppendUint32(make([]byte, 0, (n+1)*record.SumLength), r.sum),
	}}
}

// landed says that a batch that was taken is in the log, or never will be.
func (r *reader) landed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.away--
	r.changed.Broadcast()
}

// failed is why the stream could not be read to its end, or is not the one that was done before: that
// was longer.
func (r *reader) failed() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil && r.done > r.line {
		return record.Conflict("this Idempotency-Key is that of a stream with more lines; use a new one")
	}
	return r.err
}

// skip says that all lines through the number are done, but for those that are missing.
func (r *reader) skip(through uint64, missing []uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if through > r.done {
		r.done, r.missing = through, missing
	}
}

// next reads a line without its end, and something in the place of one that is too long.
func (r *reader) next() (line []byte, long bool, err error) {
	line, err = r.in.ReadSlice('\n')
	if long = errors.Is(err, bufio.ErrBufferFull); long {
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = r.in.ReadSlice('\n')
		}
		line = tooLong
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, long, cutOff()
	}
	return bytes.TrimRight(line, "\r\n"), long, err
}

func cutOff() error {
	return httpapi.New(http.StatusBadRequest, "cut_off", "the stream was cut off, or its sender closed its side before the answer had come; send it again with the same Idempotency-Key to go on")
}

// tooLong stands for a line that is over record.MaxRevocationText.
var tooLong = []byte("xxxxxxxx")

// full is called with the lock held.
func (r *reader) full() bool {
	b := &r.batch
	return b.lines >= b.most || b.size >= maxBatch || len(b.body.Alike) >= maxAlike
}

// add puts a line into the batch: as what it names, or, if that is known or wrong, as an item that
// is like none.
func (b *batch) add(number uint64, one record.Revocation, known bool, err error) {
	item := record.ImportItem{Alike: -1}
	switch {
	case known:
	case err != nil:
		p, _ := httpapi.ProblemOf(err)
		b.refused = append(b.refused, Progress{Line: number, Code: p.Code, Detail: p.Detail})
	default:
		item = record.ImportItem{Alike: b.like(one), Value: one.Value}
	}
	b.lines++
	b.size += perItem + len(item.Value)
	b.body.Items = append(b.body.Items, item)
}

// like finds what the revocation has in common with others of the batch. Streams have few kinds of
// lines, and mostly one.
func (b *batch) like(r record.Revocation) int {
	r.Value = ""
	for i := len(b.body.Alike) - 1; i >= 0; i-- {
		if same(&b.body.Alike[i], &r) {
			return i
		}
	}
	b.body.Alike = append(b.body.Alike, r)
	b.size += overhead + len(r.Issuer) + len(r.Reason)
	for _, p := range r.And {
		b.size += len(p.Value)
	}
	return len(b.body.Alike) - 1
}

func same(a, b *record.Revocation) bool {
	return a.Target == b.Target && a.Issuer == b.Issuer && a.Reason == b.Reason &&
		a.NotBefore.Equal(b.NotBefore) && a.Expiry.Equal(b.Expiry) && slices.Equal(a.And, b.And)
}
