package bulk

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"veto/node/httpapi"
	"veto/record"
)

// Bounds of a line and of a batch, in bytes.
const (
	MaxLine  = 32 << 10
	maxBatch = 512 << 10
	perItem  = 16
	overhead = 64
	maxAlike = 64 // kinds of lines in a batch
)

// batch is part of a stream: lines of it, of which some are refused already. Those stand in the
// command as items that are like none, so that the others have their numbers.
type batch struct {
	body    record.Import
	lines   int
	refused []Progress
	size    int
}

// reader makes batches of lines.
type reader struct {
	in    *bufio.Reader
	named func([]byte) (record.Revocation, error)
	line  uint64
	// done is how far the stream had come before: those lines need not be read again.
	done atomic.Uint64
}

func newReader(in io.Reader, named func([]byte) (record.Revocation, error)) *reader {
	return &reader{in: bufio.NewReaderSize(in, MaxLine), named: named}
}

func (r *reader) skip(through uint64) { r.done.Store(through) }

func (r *reader) fresh() batch {
	return batch{body: record.Import{First: r.line + 1}}
}

// batches reads to the end of the stream. A batch goes out when it is full, or when whoever takes
// it has nothing to do and no more lines are here.
func (r *reader) batches(ctx context.Context, out chan<- batch) error {
	b := r.fresh()
	for {
		line, err := r.next()
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if len(line) > 0 || err == nil {
			r.line++
			r.add(&b, line)
		}
		if err != nil {
			break
		}
		full := b.lines >= record.MaxImport || b.size >= maxBatch || len(b.body.Alike) >= maxAlike
		if !full && r.in.Buffered() > 0 {
			continue
		}
		sent, err := send(ctx, out, b, full)
		if err != nil {
			return err
		}
		if sent {
			b = r.fresh()
		}
	}
	if b.lines == 0 {
		return nil
	}
	_, err := send(ctx, out, b, true)
	return err
}

func send(ctx context.Context, out chan<- batch, b batch, block bool) (bool, error) {
	if !block {
		select {
		case out <- b:
			return true, nil
		default:
			return false, nil
		}
	}
	select {
	case out <- b:
		return true, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// next reads a line without its end. Of one that is too long comes the beginning, which is no
// line that anyone would take.
func (r *reader) next() ([]byte, error) {
	line, err := r.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = r.in.ReadSlice('\n')
		}
		line = tooLong
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, httpapi.New(http.StatusBadRequest, "cut_off", "the stream was cut off; send it again with the same Idempotency-Key to go on")
	}
	return bytes.TrimRight(line, "\r\n"), err
}

// tooLong stands for a line that is over MaxLine.
var tooLong = []byte(strings.Repeat("x", 8))

// add puts a line into the batch.
func (r *reader) add(b *batch, line []byte) {
	b.lines++
	item := record.ImportItem{Alike: -1}
	if r.line > r.done.Load() {
		if one, err := r.named(line); err != nil {
			p, _ := httpapi.ProblemOf(err)
			b.refused = append(b.refused, Progress{Line: r.line, Code: p.Code, Detail: p.Detail})
		} else {
			item = record.ImportItem{Alike: b.like(one), Value: one.Value}
		}
	}
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
