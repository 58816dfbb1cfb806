package record

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"iter"
	"math/bits"

	"github.com/dchest/siphash"
)

// Digest stands for a name in the index and in the store: its class, and 16 bytes keyed with a
// secret of the cluster, so that nobody outside can choose names that collide.
type Digest [17]byte

// Class tells which names are looked up together: those of one target, or those combinations
// that have the same parts. The numbers are on disk and never change.
type Class uint8

// Classes is above every class. Below firstCombination a class is a target's number; above, the
// bits of what is added to it say which targets are combined.
const (
	Classes          = firstCombination + 1<<len(combinable)
	firstCombination = 16
)

// combinable are the targets of which several may be named together, in the order of their bits.
var combinable = [...]Target{TargetSubject, TargetClient, TargetSession, TargetSigningKey}

// Class is the class of the name that the digest stands for.
func (d Digest) Class() Class { return Class(d[0]) }

// Combined tells which targets names of the class combine, in their order; nil for a class of
// one target. The slice is the caller's.
func (c Class) Combined() []Target {
	if c < firstCombination {
		return nil
	}
	var all []Target
	for bit, t := range combinable {
		if (c-firstCombination)&(1<<bit) != 0 {
			all = append(all, t)
		}
	}
	return all
}

// String is the text form of the class's targets.
func (c Class) String() string {
	all := c.Combined()
	if all == nil {
		return Target(c).String()
	}
	text := all[0].String()
	for _, t := range all[1:] {
		text += "_and_" + t.String()
	}
	return text
}

// ClassSet is a set of classes.
type ClassSet uint32

// SingleTargets are the classes of one target each.
const SingleTargets ClassSet = 1<<(TargetConsumer+1) - 1<<TargetJTI

// With is the set with the class added.
func (s ClassSet) With(c Class) ClassSet { return s | 1<<c }

// Has tells whether the class is in the set.
func (s ClassSet) Has(c Class) bool { return s&(1<<c) != 0 }

// Combinations are those classes of the set that are of combinations.
func (s ClassSet) Combinations() ClassSet { return s &^ (1<<firstCombination - 1) }

// All goes through the classes of the set, in their order.
func (s ClassSet) All() iter.Seq[Class] {
	return func(yield func(Class) bool) {
		for ; s != 0; s &= s - 1 {
			if !yield(Class(bits.TrailingZeros32(uint32(s)))) {
				return
			}
		}
	}
}

func (n Name) class() Class {
	if len(n.And) == 0 {
		return Class(n.Target)
	}
	c := firstCombination | bitOf(n.Target)
	for _, p := range n.And {
		c |= bitOf(p.Target)
	}
	return c
}

func bitOf(t Target) Class {
	for bit, c := range combinable {
		if c == t {
			return 1 << bit
		}
	}
	return 0
}

// DigestKey is the secret of the cluster under which names are digested.
type DigestKey [16]byte

// Digest returns the digest of the name. It does not allocate for names under 400 bytes.
func (k DigestKey) Digest(n Name) Digest {
	const head = 1 + 4
	if size := head + len(n.Issuer) + len(n.Value); len(n.And) == 0 && size <= 128 {
		var b [128]byte // most names; to clear more takes longer than to digest them
		b[0] = byte(n.Target)
		binary.BigEndian.PutUint32(b[1:], uint32(len(n.Issuer)))
		copy(b[head:], n.Issuer)
		copy(b[head+len(n.Issuer):], n.Value)
		return k.sum(b[:size])
	}
	var room [448]byte
	b := append(room[:0], byte(n.class()))
	b = binary.BigEndian.AppendUint32(b, uint32(len(n.Issuer)))
	b = append(b, n.Issuer...)
	for _, p := range n.And {
		b = binary.BigEndian.AppendUint32(b, uint32(len(p.Value)))
		b = append(b, p.Value...)
	}
	return k.sum(append(b, n.Value...))
}

// sum digests what begins with the class.
func (k DigestKey) sum(b []byte) Digest {
	hi, lo := siphash.Hash128(binary.LittleEndian.Uint64(k[:8]), binary.LittleEndian.Uint64(k[8:]), b)
	d := Digest{b[0]}
	binary.BigEndian.PutUint64(d[1:9], hi)
	binary.BigEndian.PutUint64(d[9:], lo)
	return d
}

// Seal authenticates a text for a purpose. Only who knows the key can make it.
func (k DigestKey) Seal(purpose, text string) (seal [16]byte) {
	h := hmac.New(sha256.New, k[:])
	h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(purpose))))
	h.Write([]byte(purpose))
	h.Write([]byte(text))
	copy(seal[:], h.Sum(nil))
	return seal
}

const (
	revocationPrefix   = "rev_"
	revocationIDLength = len(revocationPrefix) + 28
)

var idText = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// RevocationID is the id of every revocation of the name that the digest stands for:
// revoking twice is the same revocation.
func (d Digest) RevocationID() string { return revocationPrefix + idText.EncodeToString(d[:]) }

// ParseRevocationID is the reverse of RevocationID.
func ParseRevocationID(id string) (Digest, error) {
	var d Digest
	if len(id) != revocationIDLength || id[:len(revocationPrefix)] != revocationPrefix {
		return d, Invalid("revocation id: %q and 28 characters", revocationPrefix)
	}
	b, err := idText.DecodeString(id[len(revocationPrefix):])
	if err != nil || copy(d[:], b) != len(d) || d.RevocationID() != id {
		return d, Invalid("revocation id: %q and 28 characters", revocationPrefix)
	}
	return d, nil
}
