package keytable

import (
	"encoding/binary"
	"time"
	"unsafe"

	"veto/record"
	"veto/record/limit"
	"veto/replication/grants"
)

// form is a key's record as bytes: a head of fixed size, the hashes of its secrets, numbers and texts
// in the order of append. It never changes, so that texts are read where they are. What a check reads comes first, the
// lengths of texts before these: so it is in one or two lines of memory, none of which has to come to know of the next.
type form []byte

// The head: the size of all, the number of the key's place, the number of its grants.Set, flags.
const (
	formPlace  = 4
	formSet    = 8
	formFlags  = 12
	formHashes = 16
	hashSize   = len(record.KeyHash{})
)

// In the order of flagsOf.
const (
	flagDisabled = 1 << iota
	flagImported
	flagRotating // the last roll left a secret, the hash of which is the second
	flagRotatingImported
	flagLimits
	flagLeak
)

// appendForm appends the record.
func appendForm(b []byte, k *record.APIKey, place, set uint32) []byte {
	start := len(b)
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint32(b, place)
	b = binary.LittleEndian.AppendUint32(b, set)
	b = binary.LittleEndian.AppendUint32(b, flagsOf(k))
	b = append(b, k.Hash[:]...)
	if k.Rotating != nil {
		b = append(b, k.Rotating.Hash[:]...)
	}
	texts := [...]string{k.Consumer, k.ID, string(k.Metadata)}
	b = appendNumbers(b, uint64(len(texts[0])), uint64(len(texts[1])), uint64(len(texts[2])))
	b = binary.AppendUvarint(appendTime(appendTime(b, k.ExpiresAt), k.CreatedAt), uint64(k.Revision))
	if l := k.Limits; l != nil {
		b = appendNumbers(b, uint64(l.Rate.Requests), uint64(l.Rate.Seconds), uint64(l.Burst), l.Quota.Requests, uint64(l.Quota.Period))
	}
	if r := k.Rotating; r != nil {
		b = appendNumbers(appendTime(b, r.Until), uint64(r.Chain.From), uint64(r.Chain.To))
	}
	for _, s := range texts {
		b = append(b, s...)
	}
	if r := k.Rotating; r != nil {
		b = appendText(b, r.Hint)
	}
	for _, s := range [...]string{k.Name, k.Hint, k.Environment} {
		b = appendText(b, s)
	}
	b = appendTime(appendTime(b, k.RolledAt), k.LeakedAt)
	b = appendNumbers(b, uint64(k.Created), uint64(k.Rolled), uint64(k.Chain.From), uint64(k.Chain.To))
	if l := k.Leak; l != nil {
		b = appendText(appendText(appendNumbers(b, uint64(l.Revision)), l.By), l.Where)
	}
	binary.LittleEndian.PutUint32(b[start:], uint32(len(b)-start))
	return b
}

func flagsOf(k *record.APIKey) (flags uint32) {
	for i, is := range [...]bool{
		k.Disabled, k.Imported, k.Rotating != nil, k.Rotating != nil && k.Rotating.Imported, k.Limits != nil, k.Leak != nil,
	} {
		if is {
			flags |= 1 << i
		}
	}
	return flags
}

func appendNumbers(b []byte, all ...uint64) []byte {
	for _, n := range all {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// appendTime appends a zero for the zero time, and for any other what takes little to read.
func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, 0)
	}
	b = binary.LittleEndian.AppendUint64(append(b, 1), uint64(t.Unix()))
	return binary.LittleEndian.AppendUint32(b, uint32(t.Nanosecond()))
}

func (f form) size() int     { return int(binary.LittleEndian.Uint32(f)) }
func (f form) place() uint32 { return binary.LittleEndian.Uint32(f[formPlace:]) }
func (f form) set() uint32   { return binary.LittleEndian.Uint32(f[formSet:]) }
func (f form) flags() uint32 { return binary.LittleEndian.Uint32(f[formFlags:]) }

// hash is the first or the second.
func (f form) hash(second uint64) *record.KeyHash {
	return (*record.KeyHash)(f[formHashes+int(second)*hashSize:])
}

// hashes is how many there are.
func (f form) hashes() uint64 {
	if f.flags()&flagRotating != 0 {
		return 2
	}
	return 1
}

// read reads the record into the room, but for what its set has.
func (f form) read(room *record.KeyRoom) {
	flags := f.flags()
	r := reader(f[formHashes+int(f.hashes())*hashSize : f.size()])
	k := &room.Key
	k.Disabled, k.Imported = flags&flagDisabled != 0, flags&flagImported != 0
	consumer, id, metadata := r.number(), r.number(), r.number()
	k.ExpiresAt, k.CreatedAt, k.Revision = r.time(), r.time(), record.Revision(r.number())
	k.Rotating, k.Limits, k.Leak = nil, nil, nil
	if flags&flagLimits != 0 {
		room.Limits = limit.Limits{
			Rate: limit.Rate{Requests: uint32(r.number()), Seconds: uint32(r.number())}, Burst: uint32(r.number()),
			Quota: limit.Quota{Requests: r.number(), Period: limit.Period(r.number())},
		}
		k.Limits = &room.Limits
	}
	if flags&flagRotating != 0 {
		room.Rotating = record.Rotating{Hash: *f.hash(1), Until: r.time(), Imported: flags&flagRotatingImported != 0, Chain: r.chain()}
		k.Rotating = &room.Rotating
	}
	k.Consumer, k.ID, k.Metadata = r.text(consumer), r.text(id), r.bytes(metadata)
	if room.Brief {
		return
	}
	k.Hash = *f.hash(0)
	if k.Rotating != nil {
		room.Rotating.Hint = r.text(r.number())
	}
	k.Name, k.Hint, k.Environment = r.text(r.number()), r.text(r.number()), r.text(r.number())
	k.RolledAt, k.LeakedAt = r.time(), r.time()
	k.Created, k.Rolled, k.Chain = record.Revision(r.number()), record.Revision(r.number()), r.chain()
	if flags&flagLeak != 0 {
		room.Leak = record.Leak{Revision: record.Revision(r.number()), By: r.text(r.number()), Where: r.text(r.number())}
		k.Leak = &room.Leak
	}
}

// fill fills in what the key's set has.
func fill(k *record.APIKey, s *grants.Set) {
	k.Scopes, k.Roles, k.Issuers, k.Consumers, k.Targets, k.Granted = s.Scopes, s.Roles, s.Issuers, s.Consumers, s.Targets, s.Granted
}

// reader reads what append has written.
type reader []byte

func (r *reader) number() uint64 {
	if b := *r; b[0] < 0x80 {
		*r = b[1:]
		return uint64(b[0])
	}
	return r.long()
}

func (r *reader) long() uint64 {
	n, size := binary.Uvarint(*r)
	*r = (*r)[size:]
	return n
}

// bytes are so many, read where they are; nil if there are none.
func (r *reader) bytes(n uint64) []byte {
	if n == 0 {
		return nil
	}
	b := (*r)[:n:n]
	*r = (*r)[n:]
	return b
}

// text is read where it is: bytes that are never changed may be a string.
func (r *reader) text(n uint64) string {
	b := r.bytes(n)
	return unsafe.String(unsafe.SliceData(b), len(b))
}

func (r *reader) time() time.Time {
	b := *r
	if b[0] == 0 {
		*r = b[1:]
		return time.Time{}
	}
	*r = b[13:]
	return time.Unix(int64(binary.LittleEndian.Uint64(b[1:])), int64(binary.LittleEndian.Uint32(b[9:]))).UTC()
}

func (r *reader) chain() record.Chain {
	return record.Chain{From: record.PepperID(r.number()), To: record.PepperID(r.number())}
}
