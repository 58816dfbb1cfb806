package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	"veto/record"
	"veto/replication"
	"veto/replication/consensus"
	"veto/replication/store"
)

// keysAtOnce is how many keys are written in one batch.
const keysAtOnce = 4096

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
	// write writes so many, from a number on; atOnce is how many it is asked for.
	write  func(from, n int) error
	atOnce int
	// stream names that of the revocations, and like is the key that the others are like.
	stream string
	like   *record.APIKey
}

func (f *filler) fill(ctx context.Context) error {
	// The stream's name has its beginning: what is filled later is another.
	f.stream = fmt.Sprintf("fill-%d-%d", f.store.Applied().Index, f.first)
	start := time.Now()
	said := start
	for done := 0; done < f.count; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(f.atOnce, f.count-done)
		if err := f.write(f.first+done, n); err != nil {
			return err
		}
		done += n
		if time.Since(said) >= sayEvery {
			said = time.Now()
			_, _ = fmt.Fprintf(f.say, "    %d of %d, %s\n", done, f.count, time.Since(start).Round(time.Second)) // for people who look on
		}
	}
	return nil
}

// apply applies a command as the next entry of the log.
func (f *filler) apply(r record.Request, b record.Body) error {
	c := record.Command{Stamp: f.stamp, By: by, Request: r, Body: b}
	wire, err := c.Encode()
	if err != nil {
		return err
	}
	at := f.store.Applied()
	results, err := replication.Replay(f.store, []consensus.Entry{{Index: at.Index + 1, Term: at.Term, Command: wire}})
	if err != nil {
		return err
	}
	return refusal(results[0])
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
func (f *filler) revocations(from, n int) error {
	part := record.Import{
		First: uint64(from-f.first) + 1, Alike: []record.Revocation{{Name: record.Name{Target: record.TargetJTI, Issuer: f.of}}},
		Items: make([]record.ImportItem, n),
	}
	for i := range part.Items {
		part.Items[i].Value = fmt.Sprintf(f.form, from+i)
	}
	return f.apply(record.Request{Key: f.stream}, part)
}

// keys are those of another system, of which the hash is known. The first is made as any; the others get the records that
// it has, but for id and hash. Were each made so, ten million would take half an hour, and 20 GB of audit trail and events.
func (f *filler) keys(from, n int) error {
	if f.like == nil {
		k := f.key(from)
		if err := f.apply(record.Request{}, record.CreateKey{Key: k}); err != nil {
			return err
		}
		if err := f.learn(k); err != nil {
			return err
		}
		from, n = from+1, n-1
	}
	batch := f.store.Begin()
	for i := range n {
		k := *f.like
		own := f.key(from + i)
		k.ID, k.Hash = own.ID, own.Hash
		all, err := recordsOf(&k)
		for _, r := range all {
			err = errors.Join(err, batch.Put(r.key, r.value))
		}
		if err != nil {
			return errors.Join(err, batch.Abort())
		}
	}
	return batch.Commit(f.store.Applied())
}

func (f *filler) key(n int) record.APIKey {
	return record.APIKey{ID: fmt.Sprintf("key_%026d", n), Consumer: f.of, Imported: true, Hash: sha256.Sum256(fmt.Appendf(nil, f.form, n))}
}

// learn reads what was made of a key, and holds its records against those that the others will get.
func (f *filler) learn(made record.APIKey) error {
	value, _, err := f.store.Get(record.TableKeys.Key([]byte(made.ID)))
	if err != nil {
		return err
	}
	f.like = new(record.APIKey)
	if err := record.Decode(value, f.like); err != nil {
		return err
	}
	all, err := recordsOf(f.like)
	if err != nil {
		return err
	}
	for _, r := range all {
		if is, there, err := f.store.Get(r.key); err != nil || !there || !bytes.Equal(is, r.value) {
			return errors.Join(fmt.Errorf("a key's record in table %c is not what is written here: replication/machine has changed", r.key[0]), err)
		}
	}
	return nil
}

type keyValue struct{ key, value []byte }

// recordsOf are the records of a consumer's key without roles, as replication/machine writes them.
func recordsOf(k *record.APIKey) ([]keyValue, error) {
	value, err := record.Encode(k)
	return []keyValue{
		{record.TableKeys.Key([]byte(k.ID)), value},
		{record.TableKeyHashes.Key(k.Hash[:]), []byte(k.ID)},
		{record.TableConsumerKey.Key([]byte(k.Consumer), []byte{0}, []byte(k.ID)), nil},
	}, err
}
