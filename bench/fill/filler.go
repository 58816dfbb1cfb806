package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"time"

	"veto/record"
	"veto/replication"
	"veto/replication/consensus"
	"veto/replication/store"
)

// keysAtOnce is how many keys are applied in one batch: a node that has a log to apply takes about as many.
const keysAtOnce = 512

// sayEvery is how often is said how far it is.
const sayEvery = 5 * time.Second

// by is who has made them, for the audit trail: nobody's key.
const by = "bench"

// filler writes commands into a state.
type filler struct {
	store        *store.Store
	first, count int
	of, form     string
	stamp        time.Time
	say          io.Writer
	// bodies are those of the next so many, from a number on, and atOnce how many are asked for.
	bodies func(from, n int) []record.Body
	atOnce int
}

func (f *filler) fill(ctx context.Context) error {
	at := f.store.Applied()
	start := time.Now()
	said := start
	for done := 0; done < f.count; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(f.atOnce, f.count-done)
		var entries []consensus.Entry
		for _, b := range f.bodies(f.first+done, n) {
			// The stream's name has its beginning: what is filled later is another.
			c := record.Command{Stamp: f.stamp, By: by, Body: b}
			if b.Kind() == record.KindImport {
				c.Request.Key = fmt.Sprintf("fill-%d-%d", at.Index, f.first)
			}
			wire, err := c.Encode()
			if err != nil {
				return err
			}
			entries = append(entries, consensus.Entry{Index: f.store.Applied().Index + uint64(len(entries)) + 1, Term: at.Term, Command: wire})
		}
		results, err := replication.Replay(f.store, entries)
		if err != nil {
			return err
		}
		for _, r := range results {
			if err := refusal(r); err != nil {
				return err
			}
		}
		done += n
		if time.Since(said) >= sayEvery {
			said = time.Now()
			_, _ = fmt.Fprintf(f.say, "    %d of %d, %s\n", done, f.count, time.Since(start).Round(time.Second)) // for people who look on
		}
	}
	return nil
}

func refusal(r record.Result) error {
	if r.Rejection != nil {
		return fmt.Errorf("the state refuses it: %w", r.Rejection)
	}
	if len(r.Refused) > 0 {
		return fmt.Errorf("the state refuses %d of them, the first: %v", len(r.Refused), r.Refused[0])
	}
	return nil
}

// revocations are a part of a stream.
func (f *filler) revocations(from, n int) []record.Body {
	part := record.Import{
		First: uint64(from-f.first) + 1, Alike: []record.Revocation{{Name: record.Name{Target: record.TargetJTI, Issuer: f.of}}},
		Items: make([]record.ImportItem, n),
	}
	for i := range part.Items {
		part.Items[i].Value = fmt.Sprintf(f.form, from+i)
	}
	return []record.Body{part}
}

// keys are those of another system, of which the hash is known.
func (f *filler) keys(from, n int) []record.Body {
	all := make([]record.Body, n)
	for i := range all {
		all[i] = record.CreateKey{Key: record.APIKey{
			ID: fmt.Sprintf("key_%026d", from+i), Consumer: f.of, Imported: true, Hash: sha256.Sum256(fmt.Appendf(nil, f.form, from+i)),
		}}
	}
	return all
}
