package bulk

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"sync"

	"veto/node/httpapi"
	"veto/record"
)

// Importer takes a stream in.
type Importer struct {
	// Named makes a revocation of one line, which is valid until it returns. Its errors are for
	// the sender.
	Named func(line []byte) (record.Revocation, error)
	// Most is how many lines a part may have that begins now.
	Most func() int
	// Turn is when lines are read.
	Turn Turn
	// Propose has the cluster take part of the stream. It blocks until the log has it.
	Propose func(context.Context, record.Import) (record.Result, error)
	// Stop makes a Read of the lines that waits return. It is called when no more is read.
	Stop func()
}

// Turn is when something that has time computes. Share takes it, and now and then lets others go first, until the context
// ends; what blocks comes after Leave.
type Turn interface {
	Share(ctx context.Context) error
	Leave()
}

// Progress is one line of the answer: of a line that was refused, of how far the stream is done,
// or of its end.
type Progress struct {
	// Line that was refused, Code and Detail why.
	Line   uint64 `json:"line,omitempty"`
	Code   string `json:"code,omitempty"`
	Detail string `json:"detail,omitempty"`
	// Through is the number of a line: all up to it that were not refused are revoked, at
	// Revision or before. Through the line Resumed the stream had been taken in before.
	Through  uint64          `json:"through,omitempty"`
	Revision record.Revision `json:"revision,omitempty"`
	Resumed  uint64          `json:"resumed,omitempty"`
	// Done is on the last line of a stream that was taken in to its end, Error on that of one
	// that was not: send it again.
	Done    bool             `json:"done,omitempty"`
	Refused uint64           `json:"refused,omitempty"`
	Error   *httpapi.Problem `json:"error,omitempty"`
}

// flight is a batch on its way into the log.
type flight struct {
	batch  batch
	result record.Result
	err    error
	landed chan struct{}
}

// Import takes in the lines and writes the progress, each line in one Write. Two batches are on their
// way at a time: while one is applied, the next is replicated. An error before anything was written is
// returned as a *NotBegun, and told by the caller; later ones are told as the last line. Another error
// is that of the writer, who then knows no end, or one that nobody knows.
func (x *Importer) Import(ctx context.Context, lines io.Reader, w io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	in := newReader(lines, x.Named, x.Turn, x.Most)
	flights := make(chan *flight) // in their order
	var work sync.WaitGroup
	work.Go(func() { in.read(ctx) })
	sent := false
	work.Go(func() {
		defer close(flights)
		sent = x.send(ctx, in, flights, &work)
	})
	defer func() {
		cancel()
		in.end(io.EOF)
		x.Stop()
		work.Wait()
	}()
	out := &teller{to: json.NewEncoder(w)}
	last := Progress{}
	for f := range flights {
		<-f.landed
		in.landed()
		if err := x.one(ctx, out, f, &last); err != nil {
			if ctx.Err() != nil { // the sender closed its side: that, and not what it did to the batch, is why
				err = cutOff()
			}
			return out.failed(last, err)
		}
		in.skip(f.result.Before, f.result.Missing)
	}
	err := in.failed()
	if err == nil && !sent {
		err = cutOff()
	}
	if err != nil {
		return out.failed(last, err)
	}
	last.Done = true
	return out.Encode(last)
}

// send sends batches off, each once the one before the last has landed. It tells whether there is no
// more to send.
func (x *Importer) send(ctx context.Context, in *reader, flights chan<- *flight, work *sync.WaitGroup) bool {
	for {
		b, more := in.take()
		if !more {
			return true
		}
		f := &flight{batch: b, landed: make(chan struct{})}
		work.Go(func() {
			defer close(f.landed)
			f.result, f.err = x.Propose(ctx, b.body)
		})
		select {
		case flights <- f:
		case <-ctx.Done():
			return false
		}
	}
}

// one tells what came of a batch that landed after all before it, if that is known.
func (x *Importer) one(ctx context.Context, out *teller, f *flight, last *Progress) error {
	var rejected *record.Rejection
	if errors.As(f.err, &rejected) && rejected.Reason == record.ReasonGap {
		f.result, f.err = x.Propose(ctx, f.batch.body) // it had overtaken the one before
	}
	if f.err != nil {
		return f.err
	}
	b, result := f.batch, f.result
	if b.body.First == 1 && len(result.Missing) > record.MaxMissing {
		return record.Conflict("more than %d lines of this stream were refused, and which they were is not known any more; send it under a new Idempotency-Key: what is revoked stays so", record.MaxMissing)
	}
	refused := b.refused
	for _, r := range result.Refused {
		if _, here := slices.BinarySearchFunc(b.refused, r.Number, func(p Progress, n uint64) int { return cmp.Compare(p.Line, n) }); !here {
			refused = append(refused, Progress{Line: r.Number, Code: string(r.Rejection.Reason), Detail: r.Rejection.Detail})
		}
	}
	slices.SortFunc(refused, func(a, b Progress) int { return cmp.Compare(a.Line, b.Line) })
	for _, r := range refused {
		if err := out.Encode(r); err != nil {
			return err
		}
	}
	last.Refused += uint64(len(refused))
	end := b.body.First + uint64(b.lines) - 1
	if result.Before > end {
		// Only the sum of the last line that was done is known: whether these lines are the ones that
		// were done is known once that line has come. What was missing of them may be done later than what
		// follows, which need not wait for it.
		out.held, out.heldAt = end, max(out.heldAt, result.Revision)
		return nil
	}
	last.Through = end
	last.Revision = max(last.Revision, result.Revision, out.heldAt)
	last.Resumed = max(last.Resumed, out.held)
	if result.Before >= b.body.First {
		last.Resumed = result.Before
	}
	return out.Encode(last)
}

// NotBegun is why nothing of a stream was done.
type NotBegun struct{ Reason error }

func (e *NotBegun) Error() string { return e.Reason.Error() }
func (e *NotBegun) Unwrap() error { return e.Reason }

// teller writes lines of the answer.
type teller struct {
	to   *json.Encoder
	told bool
	held uint64 // the last line of which it is not told that it had been done
	// heldAt is the revision at which all up to that one are.
	heldAt record.Revision
}

func (t *teller) Encode(p any) error {
	t.told = true
	return t.to.Encode(p)
}

// failed tells that the stream ends here, and how far it came.
func (t *teller) failed(last Progress, err error) error {
	if !t.told {
		return &NotBegun{err}
	}
	p, known := httpapi.ProblemOf(err)
	last.Error = p
	if errEnd := t.Encode(last); errEnd != nil {
		return errEnd
	}
	if !known {
		return err
	}
	return nil
}
