package replication

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"pgregory.net/rapid"

	"veto/record"
	"veto/replication/consensus"
	"veto/replication/pepper"
	"veto/replication/store"
)

func newRing(t testing.TB) *pepper.Ring {
	t.Helper()
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	r, err := pepper.ParseRing([]byte(base64.StdEncoding.EncodeToString(key)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// peppered is a node with a store, on which commands are done as a Replica would have them done.
type peppered struct {
	*rapid.T
	tb      *testing.T
	parts   *parts
	ring    *pepper.Ring
	at      uint64
	secrets map[string]string // good secrets, and whose they are
	old     map[string]string // of each key that is rotating
	current map[string]string
}

func (p *peppered) do(b record.Body) record.Result {
	b, err := p.parts.index.Keys().Peppered(b, record.LevelNewest)
	if err != nil {
		p.Fatal(err)
	}
	p.at++
	results, err := p.parts.Apply([]consensus.Entry{entry(p.tb, p.at, b)})
	if err != nil {
		p.Fatal(err)
	}
	return results[0]
}

func sumOf(secret string) record.KeyHash { return sha256.Sum256([]byte(secret)) }

func (p *peppered) create(id, secret string, imported bool) {
	k := record.APIKey{ID: id, Consumer: "shop", Hash: sumOf(secret), Imported: imported}
	r := p.do(record.CreateKey{Key: k})
	_, known := p.secrets[secret]
	_, there := p.current[id]
	if done := r.Rejection == nil; done != (!known && !there) {
		p.Fatalf("%s with the secret %s: %+v, known %t", id, secret, r.Rejection, known)
	}
	if known && !there && r.Rejection.Reason != record.ReasonDuplicateKey {
		p.Fatalf("%+v", r.Rejection)
	}
	if r.Rejection == nil {
		p.secrets[secret], p.current[id] = id, secret
	}
}

func (p *peppered) roll(id, secret string, overlap time.Duration) {
	if _, there := p.current[id]; !there || p.secrets[secret] != "" {
		return
	}
	if r := p.do(record.RollKey{ID: id, Hash: sumOf(secret), Overlap: overlap, Force: true}); r.Rejection != nil {
		p.Fatal(r.Rejection)
	}
	if old, ok := p.old[id]; ok {
		delete(p.secrets, old)
		delete(p.old, id)
	}
	if overlap > 0 {
		p.old[id] = p.current[id]
	} else {
		delete(p.secrets, p.current[id])
	}
	p.secrets[secret], p.current[id] = id, secret
}

func (p *peppered) remove(id string) {
	if _, there := p.current[id]; !there {
		return
	}
	if r := p.do(record.DeleteKey{ID: id}); r.Rejection != nil {
		p.Fatal(r.Rejection)
	}
	delete(p.secrets, p.current[id])
	delete(p.secrets, p.old[id])
	delete(p.current, id)
	delete(p.old, id)
}

// rotate makes another pepper, unless keys need as many as there may be.
func (p *peppered) rotate() {
	all := p.parts.view.Peppers()
	next, err := p.ring.Make(rand.Reader, "c", all.Newest()+1)
	if err != nil {
		p.Fatal(err)
	}
	needed := false
	for c := range p.parts.view.Counts() {
		needed = needed || len(all.Records()) > 0 && c.From == all.Records()[0].ID
	}
	r := p.do(record.PutPepper{Pepper: next})
	if refused := r.Rejection != nil; refused != (needed && len(all.Records()) == record.MaxPeppers) {
		p.Fatalf("%+v, %d peppers, the oldest is needed: %t", r.Rejection, len(all.Records()), needed)
	}
}

func (p *peppered) rehash(all []record.Rehash) {
	if len(all) > 0 {
		p.do(record.RehashKeys{Keys: all})
	}
}

// restart has another index read the same store, or that of a snapshot.
func (p *peppered) restart(fromSnapshot bool) {
	was := p.parts.store
	if !fromSnapshot {
		p.parts = partsOn(p.tb, was, 1<<20, p.ring)
		if err := p.parts.load(); err != nil {
			p.Fatal(err)
		}
		return
	}
	if err := p.parts.Restore(streamOf(p.tb, was)); err != nil {
		p.Fatal(err)
	}
}

// look checks that each secret is found exactly if it is good, and whose it is.
func (p *peppered) look(all []string) {
	for _, secret := range all {
		k, old, ok := p.parts.view.APIKey(sumOf(secret), new(record.KeyRoom))
		id, good := p.secrets[secret]
		if ok != good || ok && (k.ID != id || old != (p.old[id] == secret)) {
			p.Fatalf("the secret %s of %q: found %t, %+v", secret, id, ok, k)
		}
	}
}

// R1
func TestSecretsAreGoodWhateverHappensToPeppers(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s, err := store.Open(t.TempDir(), store.Options{CacheBytes: 1 << 20, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			rt.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		ring := newRing(t)
		p := &peppered{T: rt, tb: t, parts: partsOn(t, s, 1<<20, ring), ring: ring, at: 2, secrets: map[string]string{}, old: map[string]string{}, current: map[string]string{}}
		p.parts.must(t, founding(t, 1), entry(t, 2, record.PutConsumer{Consumer: record.Consumer{ID: "shop"}}))
		ids := rapid.SampledFrom([]string{"key_1", "key_2", "key_3"})
		var secrets []string
		for i := range 6 {
			secrets = append(secrets, fmt.Sprint("secret", i))
		}
		any := rapid.SampledFrom(secrets)
		for range 40 {
			id, secret := ids.Draw(rt, "id"), any.Draw(rt, "secret")
			switch rapid.SampledFrom([]string{"create", "import", "roll", "roll at once", "delete", "rotate", "rotate", "tend", "use", "restart", "snapshot"}).Draw(rt, "what") {
			case "create":
				p.create(id, secret, false)
			case "import":
				p.create(id, secret, true)
			case "roll":
				p.roll(id, secret, time.Hour)
			case "roll at once":
				p.roll(id, secret, 0)
			case "delete":
				p.remove(id)
			case "rotate":
				p.rotate()
			case "tend":
				p.rehash(p.parts.view.Outdated(rapid.IntRange(1, 5).Draw(rt, "some")))
			case "use":
				p.parts.view.APIKey(sumOf(secret), new(record.KeyRoom))
				p.rehash(p.parts.index.Keys().Anew(10))
			case "restart":
				p.restart(false)
			case "snapshot":
				p.restart(true)
			}
			p.look(secrets)
		}
	})
}

// R1: the state, and so the log and snapshots of it, holds no hash that can be made without the pepper.
func TestStateHoldsNoPlainHash(t *testing.T) {
	p := newParts(t)
	ring := newRing(t)
	p = partsOn(t, p.store, 1<<20, ring)
	p.must(t, founding(t, 1), entry(t, 2, record.PutConsumer{Consumer: record.Consumer{ID: "shop"}}),
		entry(t, 3, record.CreateKey{Key: record.APIKey{ID: "key_1", Consumer: "shop", Hash: sumOf("one")}}))
	next, err := ring.Make(rand.Reader, "c", 1)
	if err != nil {
		t.Fatal(err)
	}
	p.must(t, entry(t, 4, record.PutPepper{Pepper: next}))
	p.must(t, entry(t, 5, record.RehashKeys{Keys: p.view.Outdated(10)}))
	all := sumOf("one")
	err = p.store.Scan([]byte{0}, []byte{0xff}, func(key, value []byte) (bool, error) {
		if bytes.Contains(key, all[:]) || bytes.Contains(value, all[:]) {
			return false, fmt.Errorf("the SHA-256 of a secret is at %q", key)
		}
		return true, nil
	})
	if err != nil {
		t.Error(err)
	}
	if _, _, ok := p.view.APIKey(all, new(record.KeyRoom)); !ok {
		t.Error("not found")
	}
	locked := partsOn(t, p.store, 1<<20, newRing(t))
	if err := locked.load(); err != nil {
		t.Fatal(err)
	}
	if _, _, ok := locked.view.APIKey(all, new(record.KeyRoom)); ok || !locked.view.Locked() {
		t.Error("found with another key")
	}
	if _, err := locked.index.Keys().Peppered(record.CreateKey{}, record.LevelNewest); !errors.As(err, new(*record.Unavailable)) {
		t.Error(err)
	}
}

// R3
func TestKeyThatComesLateUnlocks(t *testing.T) {
	late, ring := newRing(t), newRing(t)
	p := partsOn(t, newParts(t).store, 1<<20, ring)
	key := func(i int) record.CreateKey {
		return record.CreateKey{Key: record.APIKey{ID: fmt.Sprintf("key_%d", i), Consumer: "shop", Hash: sumOf(fmt.Sprint("secret", i))}}
	}
	p.must(t, founding(t, 1), entry(t, 2, record.PutConsumer{Consumer: record.Consumer{ID: "shop"}}), entry(t, 3, key(0)), entry(t, 4, key(1)))
	for i := range record.PepperID(2) {
		next, err := ring.Make(rand.Reader, "c", i+1)
		if err != nil {
			t.Fatal(err)
		}
		p.must(t, entry(t, uint64(5+2*i), record.PutPepper{Pepper: next}))
		p.must(t, entry(t, uint64(6+2*i), record.RehashKeys{Keys: p.view.Outdated(1)}))
	}
	x := partsOn(t, p.store, 1<<20, late)
	if err := x.load(); err != nil {
		t.Fatal(err)
	}
	if x.view.Unlock(); !x.view.Locked() {
		t.Error("open without the key")
	}
	if _, err := late.Take(ring, x.view.Peppers().Records()); err != nil {
		t.Fatal(err)
	}
	x.view.Unlock()
	for i := range 2 {
		k, _, ok := x.view.APIKey(sumOf(fmt.Sprint("secret", i)), new(record.KeyRoom))
		if !ok || k.ID != fmt.Sprintf("key_%d", i) {
			t.Errorf("the key %d: found %t, %+v", i, ok, k)
		}
	}
	if x.view.Locked() {
		t.Error("still locked")
	}
}
