package replication

import (
	"context"
	"encoding/hex"
	"errors"
	"math"
	"sync/atomic"

	"veto/record"
	"veto/record/limit"
	"veto/record/trail"
	"veto/replication/index"
	"veto/replication/machine"
	"veto/replication/pepper"
	"veto/replication/store"
)

// View is what readers see of the state. Its methods may be called from anywhere, and do not block
// on writes. Those that validation needs answer from memory, but for what a filter of revocations
// cannot rule out; those that list read the disk.
type View struct {
	index   *index.Index
	store   *store.Store
	horizon *Horizon
	cluster atomic.Pointer[record.Found] // nil until the cluster is founded
}

// NewView shows the parts' state.
func NewView(x *index.Index, s *store.Store, h *Horizon) *View {
	return &View{index: x, store: s, horizon: h}
}

// Freshness is how far the state reaches. Read it before looking anything up.
func (v *View) Freshness() record.Freshness { return v.horizon.Freshness() }

// AwaitRevision blocks until the state has reached the revision; otherwise it returns the
// context's error.
func (v *View) AwaitRevision(ctx context.Context, r record.Revision) error {
	return v.index.Await(ctx, r)
}

// Notice takes an early word of another node, and Beacon the leader's.
func (v *View) Notice(n record.Notice) { v.index.Notice(n) }

// Beacon takes the leader's word on how far the log reaches.
func (v *View) Beacon(b record.Beacon) { v.horizon.Beacon(b) }

// Stats are numbers for people who watch.
func (v *View) Stats() index.Stats { return v.index.Stats() }

// ClusterID is empty until the cluster is founded.
func (v *View) ClusterID() string {
	if c := v.cluster.Load(); c != nil {
		return c.ClusterID
	}
	return ""
}

// Digest is what stands for the name in this cluster; zero before it is founded.
func (v *View) Digest(n record.Name) record.Digest {
	c := v.cluster.Load()
	if c == nil {
		return record.Digest{}
	}
	return c.DigestKey.Digest(n)
}

// RevocationID is the id that every revocation of the name has.
func (v *View) RevocationID(n record.Name) string { return v.Digest(n).RevocationID() }

// InUse are the classes of names of which there are revocations, or were since the node started.
func (v *View) InUse() record.ClassSet { return v.index.InUse() }

// FirstDenied is the place of the first of the digests by which a credential that was issued at the
// given second (or record.NoIssuedAt) is denied; -1 if it is not.
func (v *View) FirstDenied(all []record.Digest, issuedAt int64) int {
	return v.index.FirstDenied(all, issuedAt)
}

// AnsweredBy says by what means FirstDenied answers.
func (v *View) AnsweredBy(d record.Digest, issuedAt int64) string {
	hit, _ := v.index.Revoked(d, issuedAt)
	return hit.By.String()
}

// Revoked finds the revocation that denies a credential that bears the name: of several the one
// that is kept longest. It may read the disk.
func (v *View) Revoked(n record.Name, issuedAt int64) (record.Revocation, bool) {
	hit, ok := v.index.Revoked(v.Digest(n), issuedAt)
	if !ok {
		return record.Revocation{}, false
	}
	if hit.Notice != nil {
		return *hit.Notice, true
	}
	r, found, err := v.stored(hit.Bucket, v.Digest(n), issuedAt)
	if err != nil || !found {
		// The index denies; that the record cannot be read takes away only the reason.
		return record.Revocation{Name: n}, true
	}
	return r, true
}

// stored reads the revocation with the greatest cut-off of the digest in the bucket.
func (v *View) stored(b record.Bucket, d record.Digest, issuedAt int64) (r record.Revocation, found bool, err error) {
	from := record.TableRevocations.Key(b.Bytes(), d[:])
	err = v.store.Scan(from, record.KeyAfter(from), func(_, value []byte) (bool, error) {
		var candidate record.Revocation
		if err := record.Decode(value, &candidate); err != nil {
			return false, err
		}
		if issuedAt <= candidate.Cutoff() {
			r, found = candidate, true
		}
		return true, nil
	})
	return r, found, err
}

// APIKey finds a key by the SHA-256 of its secret, and tells whether that is one that was replaced. The
// record is shared: read it only.
func (v *View) APIKey(sum record.KeyHash) (k *record.APIKey, old, ok bool) {
	return v.index.Keys().Find(sum)
}

// Peppers are those that there are, Outdated up to so many hashes of secrets that are to be made by the
// newest, and Counts how many secrets there are by each chain.
func (v *View) Peppers() *pepper.Peppers { return v.index.Keys().Peppers() }

// Outdated is explained with Peppers.
func (v *View) Outdated(limit int) []record.Rehash { return v.index.Keys().Outdated(limit) }

// Counts is explained with Peppers.
func (v *View) Counts() map[record.Chain]int { return v.index.Keys().Counts() }

// Locked tells whether there is a pepper that this node cannot read, so that it finds no API key.
func (v *View) Locked() bool { return v.index.Keys().Peppers().Locked() }

// Imports tells whether there are keys that another system made, so that they have any form.
func (v *View) Imports() bool { return v.index.Keys().Imports() }

// Consumer finds a consumer. The record is shared: read it only.
func (v *View) Consumer(id string) (*record.Consumer, bool) { return v.index.Consumer(id) }

// Issuers are the trusted issuers, sorted by id.
func (v *View) Issuers() []record.Issuer {
	issuers, _ := v.index.Issuers()
	return issuers
}

// SigningKeys are an issuer's keys.
func (v *View) SigningKeys(issuerID string) (record.SigningKeys, bool) {
	_, all := v.index.Issuers()
	for _, k := range all {
		if k.IssuerID == issuerID {
			return k, true
		}
	}
	return record.SigningKeys{}, false
}

// Consumers lists the consumers with ids above after that the query finds, in their order.
func (v *View) Consumers(q record.ConsumerQuery, afterID string, limit int) ([]record.Consumer, error) {
	return list(v.store, record.TableConsumers, afterID, limit, q.Finds)
}

// Role reads a role that operators have defined.
func (v *View) Role(id record.Role) (record.DefinedRole, bool, error) {
	var r record.DefinedRole
	b, ok, err := v.store.Get(record.TableRoles.Key([]byte(id)))
	if err != nil || !ok {
		return r, false, err
	}
	return r, true, record.Decode(b, &r)
}

// Roles lists the roles that operators have defined, with ids above after.
func (v *View) Roles(afterID string, limit int) ([]record.DefinedRole, error) {
	return list[record.DefinedRole](v.store, record.TableRoles, afterID, limit, nil)
}

// Key reads an API key by its id.
func (v *View) Key(id string) (record.APIKey, bool, error) {
	var k record.APIKey
	b, ok, err := v.store.Get(record.TableKeys.Key([]byte(id)))
	if err != nil || !ok {
		return k, false, err
	}
	if err := record.Decode(b, &k); err != nil {
		return k, false, err
	}
	return k, true, v.showUse(&k)
}

// showUse fills in when the key was last used.
func (v *View) showUse(k *record.APIKey) error {
	m, err := machine.LastUsed(v.store, k.ID)
	if m > 0 {
		k.LastUsedAt = m.Time()
	}
	return err
}

// Keys lists API keys with ids above after; of one consumer, unless consumer is empty.
func (v *View) Keys(consumer, afterID string, limit int) ([]record.APIKey, error) {
	keep := func(k *record.APIKey) bool { return consumer == "" || k.Consumer == consumer }
	items, err := list(v.store, record.TableKeys, afterID, limit, keep)
	for i := range items {
		err = errors.Join(err, v.showUse(&items[i]))
	}
	return items, err
}

// Usage is how much of a key's quota is taken; all of any quota if the disk cannot tell.
func (v *View) Usage(keyID string) limit.Usage {
	u, _, err := machine.Usage(v.store, keyID)
	if err != nil {
		return limit.Usage{Window: math.MaxInt64, Used: limit.MaxQuota}
	}
	return u
}

// Audit lists the audit trail behind an entry, in its order.
func (v *View) Audit(after trail.Entry, limit int) ([]trail.Entry, error) {
	key := record.AuditKey(after.Revision, after.Number)
	return list[trail.Entry](v.store, record.TableAudit, string(key[1:]), limit, nil)
}

// AuditHead is the last entry of the audit trail's chain; zero if the chain has not begun.
func (v *View) AuditHead() (trail.Head, error) {
	h, _, err := machine.AuditHead(v.store)
	return h, err
}

// AuditAgrees tells whether the trail here holds another node's head; empty if it does not reach so
// far.
func (v *View) AuditAgrees(with trail.Head) (record.AuditAgreement, error) {
	here, err := v.AuditHead()
	if err != nil || with.Sequence == 0 || here.Sequence < with.Sequence {
		return "", err
	}
	var e trail.Entry
	b, ok, err := v.store.Get(record.AuditKey(with.Revision, with.Number))
	if err == nil && ok {
		err = record.Decode(b, &e)
	}
	if err != nil || e.Hash != with.Hash {
		return record.AuditDiffers, err
	}
	return record.AuditAgrees, nil
}

var errDisk = errors.New("the disk cannot tell whether this is revoked")

// Revocation finds what is in force of the name with the digest.
func (v *View) Revocation(d record.Digest) (record.Standing, bool, error) {
	hit, ok := v.index.Revoked(d, record.NoIssuedAt)
	if !ok {
		return record.Standing{}, false, nil
	}
	if hit.Notice != nil {
		s := record.Standing{Revocation: *hit.Notice, Accepted: hit.Taken, Node: hit.Node}
		return s, true, nil
	}
	r, ok, err := v.latest(d)
	return record.Standing{Revocation: r, Accepted: record.Accepted{Revision: r.Revision}}, ok, err
}

// latest is the revocation with the latest cut-off of those of one name: the one that is shown.
func (v *View) latest(d record.Digest) (r record.Revocation, found bool, err error) {
	for issuedAt := record.NoIssuedAt; ; issuedAt = r.Cutoff() + 1 {
		hit, ok := v.index.Committed(d, issuedAt)
		if !ok {
			return r, found, nil
		}
		if err := failed(hit); err != nil {
			return r, false, err
		}
		later, ok, err := v.stored(hit.Bucket, d, issuedAt)
		if err != nil || !ok {
			return r, found, err
		}
		if r, found = later, true; r.Cutoff() == record.DeniesAll {
			return r, true, nil
		}
	}
}

// Revocations lists revocations, but for the canary's, by the time until which they are kept; of several of one name
// the one that Revocation shows. Next is the cursor of the following page; empty on the last. It asks the index for each.
func (v *View) Revocations(cursor string, limit int) (items []record.Revocation, next string, err error) {
	return v.revocations(cursor, limit, v.isShown)
}

// EveryRevocation is Revocations with all of one name, for those who read many.
func (v *View) EveryRevocation(cursor string, limit int) (items []record.Revocation, next string, err error) {
	return v.revocations(cursor, limit, func(*record.Revocation, record.Digest) (bool, error) { return true, nil })
}

func (v *View) revocations(cursor string, limit int, keep func(*record.Revocation, record.Digest) (bool, error)) (items []record.Revocation, next string, err error) {
	from := record.TableRevocations.Key()
	if cursor != "" {
		key, err := hex.DecodeString(cursor)
		if _, _, _, ok := record.ParseRevocationKey(key); err != nil || !ok {
			return nil, "", record.Invalid("cursor: is not one that this list gave")
		}
		from = append(key, 0)
	}
	var last []byte
	err = v.store.Scan(from, record.KeyAfter(record.TableRevocations.Key()), func(key, value []byte) (bool, error) {
		if len(items) == limit {
			next = hex.EncodeToString(last)
			return false, nil
		}
		var r record.Revocation
		if err := record.Decode(value, &r); err != nil {
			return false, err
		}
		_, d, _, _ := record.ParseRevocationKey(key)
		if r.OfCanary() {
			return true, nil
		}
		if ok, err := keep(&r, d); err != nil || !ok {
			return err == nil, err
		}
		items, last = append(items, r), append(last[:0], key...)
		return true, nil
	})
	return items, next, err
}

// isShown tells whether there is no revocation of the name that denies more, or as much for longer.
func (v *View) isShown(r *record.Revocation, d record.Digest) (bool, error) {
	cutoff := r.Cutoff()
	hit, ok := v.index.Committed(d, cutoff)
	if ok && hit.By != index.ByFailure && hit.Bucket <= r.Bucket() && cutoff < record.DeniesAll {
		hit, ok = v.index.Committed(d, cutoff+1)
		return !ok, failed(hit)
	}
	return !ok || hit.Bucket <= r.Bucket(), failed(hit)
}

func failed(h index.Hit) error {
	if h.By == index.ByFailure {
		return errDisk
	}
	return nil
}

// list reads up to limit records above a key of a table.
func list[T any](s *store.Store, t record.Table, above string, limit int, keep func(*T) bool) ([]T, error) {
	from := t.Key([]byte(above))
	if above != "" {
		from = append(from, 0)
	}
	var items []T
	err := s.Scan(from, record.KeyAfter(t.Key()), func(_, value []byte) (bool, error) {
		if len(items) == limit {
			return false, nil
		}
		var item T
		if err := record.Decode(value, &item); err != nil {
			return false, err
		}
		if keep == nil || keep(&item) {
			items = append(items, item)
		}
		return true, nil
	})
	return items, err
}
