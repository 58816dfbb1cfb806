package replication

import (
	"context"
	"encoding/hex"
	"errors"
	"math"
	"sync/atomic"
	"time"

	"veto/record"
	"veto/record/limit"
	"veto/replication/constant"
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
	level   atomic.Uint32
	common  *constant.Values // of revocations of streams
}

// NewView shows the parts' state.
func NewView(x *index.Index, s *store.Store, h *Horizon) *View {
	return &View{index: x, store: s, horizon: h, common: constant.New(s)}
}

// Freshness is how far the state reaches. Read it before looking anything up.
func (v *View) Freshness() record.Freshness { return v.horizon.Freshness() }

// AwaitRevision blocks until the state has reached the revision; otherwise it returns the
// context's error.
func (v *View) AwaitRevision(ctx context.Context, r record.Revision) error {
	return v.index.Await(ctx, r)
}

// Notice takes an early word of another node.
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

// Level is the one in force: all nodes knew it when it was raised last.
func (v *View) Level() record.Level { return max(record.Level(v.level.Load()), record.LevelFirst) }

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
	d := v.Digest(n)
	hit, ok := v.index.Revoked(d, issuedAt)
	if !ok {
		return record.Revocation{}, false
	}
	if hit.Notice != nil {
		return *hit.Notice, true
	}
	r, found, err := v.stored(hit.Bucket, d, issuedAt)
	if err != nil || !found {
		// The index denies; that the record cannot be read takes away only the reason.
		return record.Revocation{Name: n}, true
	}
	return r, true
}

// stored reads the revocation with the greatest cut-off of the digest in the bucket.
func (v *View) stored(b record.Bucket, d record.Digest, issuedAt int64) (r record.Revocation, found bool, err error) {
	from := record.TableRevocations.Key(b.Bytes(), d[:])
	err = v.store.Scan(from, record.KeyAfter(from), func(key, value []byte) (bool, error) {
		candidate, ok, err := record.StoredRevocation(key, value, v.common.Get)
		if err != nil {
			return false, err
		}
		if ok && issuedAt <= candidate.Cutoff() {
			r, found = candidate, true
		}
		return true, nil
	})
	return r, found, err
}

// APIKey finds a key by the SHA-256 of its secret, and tells whether that is one that was replaced. The
// record is the room's, and what it holds shared: read it only.
func (v *View) APIKey(sum record.KeyHash, room *record.KeyRoom) (k *record.APIKey, old, ok bool) {
	return v.index.Keys().Find(sum, room)
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

// Unlock tries what could not be read by the keys of peppers that this node has now.
func (v *View) Unlock() { v.index.Unlock() }

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
func (v *View) Consumers(q record.ConsumerQuery, afterID string, limit int) (items []record.Consumer, next string, err error) {
	return list(v.store, record.TableConsumers, afterID, limit, func(c *record.Consumer) (bool, error) { return q.Finds(c), nil })
}

// Seal authenticates a text for a purpose: any node of the cluster can, and nobody else.
func (v *View) Seal(purpose, text string) (seal [16]byte) {
	if c := v.cluster.Load(); c != nil {
		return c.DigestKey.Seal(purpose, text)
	}
	return seal
}

// Role reads a role that operators have defined.
func (v *View) Role(id record.Role) (record.DefinedRole, bool, error) {
	return one[record.DefinedRole](v.store, record.TableRoles.Key([]byte(id)))
}

// one reads the record under a key of the store.
func one[T any](s *store.Store, key []byte) (r T, ok bool, err error) {
	b, ok, err := s.Get(key)
	if err != nil || !ok {
		return r, false, err
	}
	return r, true, record.Decode(b, &r)
}

// Roles lists the roles that operators have defined, with ids above after.
func (v *View) Roles(afterID string, limit int) (items []record.DefinedRole, next string, err error) {
	return list[record.DefinedRole](v.store, record.TableRoles, afterID, limit, nil)
}

// Key reads an API key by its id.
func (v *View) Key(id string) (record.APIKey, bool, error) {
	k, ok, err := one[record.APIKey](v.store, record.TableKeys.Key([]byte(id)))
	if err != nil || !ok {
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

// Keys lists API keys with ids above after that the query finds.
func (v *View) Keys(q record.KeyQuery, now time.Time, afterID string, limit int) (items []record.APIKey, next string, err error) {
	var room record.KeyRoom
	keep := func(k *record.APIKey) (bool, error) {
		if shared, ok := v.index.Keys().Stored(k.Hash, &room); ok && shared.ID == k.ID {
			k.Granted = shared.Granted
		}
		return q.Finds(k, now, func() (bool, error) { return v.isRevoked(k) })
	}
	switch {
	case q.Consumer != "":
		items, next, err = v.keysUnder(record.TableConsumerKey, q.Consumer, afterID, limit, keep)
	case q.Role != "" && !q.Role.IsOwn():
		items, next, err = v.keysUnder(record.TableRoleKeys, string(q.Role), afterID, limit, keep)
	default:
		items, next, err = list(v.store, record.TableKeys, afterID, limit, keep)
	}
	for i := range items {
		err = errors.Join(err, v.showUse(&items[i]))
	}
	return items, next, err
}

// isRevoked tells whether a revocation denies the key, by its own name or by its consumer's.
func (v *View) isRevoked(k *record.APIKey) (bool, error) {
	for _, n := range []record.Name{{Target: record.TargetKey, Value: k.ID}, {Target: record.TargetConsumer, Value: k.Consumer}} {
		if hit, ok := v.index.Revoked(v.Digest(n), k.CreatedAt.Unix()); ok {
			return true, failed(hit)
		}
	}
	return false, nil
}

// keysUnder lists those keys that a table has under an owner. What is deleted meanwhile is left out.
func (v *View) keysUnder(t record.Table, owner, afterID string, limit int, keep func(*record.APIKey) (bool, error)) (items []record.APIKey, next string, err error) {
	prefix := t.Key([]byte(owner), []byte{0})
	from := append(append([]byte(nil), prefix...), afterID...)
	if afterID != "" {
		from = append(from, 0)
	}
	var ids []string
	err = v.store.Scan(from, record.KeyAfter(prefix), func(key, _ []byte) (bool, error) {
		ids = append(ids, string(key[len(prefix):]))
		return len(ids) <= maxSkipped, nil
	})
	for n, id := range ids {
		if len(items) == limit || n == maxSkipped {
			return items, ids[n-1], err
		}
		k, there, errKey := v.Key(id)
		if errKey == nil && there {
			there, errKey = keep(&k)
		}
		if err = errors.Join(err, errKey); err != nil {
			return items, "", err
		}
		if there {
			items = append(items, k)
		}
	}
	return items, "", err
}

// Usage is how much of a key's quota is taken; all of any quota if the disk cannot tell.
func (v *View) Usage(keyID string) limit.Usage {
	u, _, err := machine.Usage(v.store, keyID)
	if err != nil {
		return limit.Usage{Window: math.MaxInt64, Used: limit.MaxQuota}
	}
	return u
}

var errDisk = errors.New("the disk cannot tell whether this is revoked")

// Revocation finds what is in force of the name with the digest.
func (v *View) Revocation(d record.Digest) (record.Standing, bool, error) {
	hit, ok := v.index.Revoked(d, record.NoIssuedAt)
	if !ok {
		return record.Standing{}, false, nil
	}
	if hit.Notice != nil && !hit.Unkept {
		return record.Standing{Revocation: *hit.Notice, Accepted: hit.Taken, Node: hit.Node}, true, nil
	}
	r, ok, err := v.latest(d)
	return record.Standing{Revocation: r, Accepted: record.Accepted{Revision: r.Revision}}, ok, err
}

// Stands is what the log has of a revocation that was accepted: what it made of it or, if that adds nothing, what
// denies as much and is kept as long. Told is false if this node cannot tell by the end of the context. What others
// have only told of is not in the log: it does not count.
func (v *View) Stands(ctx context.Context, r record.Revocation, a record.Accepted) (now record.Revocation, told bool, err error) {
	if a.Revision == 0 {
		return r, false, nil
	}
	r.Revision = a.Revision
	r.KeptUntil, told = a.Kept.Until()
	d := v.Digest(r.Name)
	// Most add something, and need not wait until this node has applied them.
	look := !told || v.mayAddNothing(d, &r, a)
	if applied := look && v.AwaitRevision(ctx, a.Revision) == nil; !applied {
		return r, told, nil
	}
	now, ok, err := v.longestKept(d, r.Cutoff())
	switch {
	case err == nil && ok:
		return now, true, nil
	case told: // the log has said so, and it was lifted since, or the disk fails
		return r, true, nil
	case err == nil:
		err = record.Conflict("this was revoked at revision %d, and lifted or let go since; to revoke it again, leave out the Idempotency-Key or use a new one", a.Revision)
	}
	return r, false, err
}

// mayAddNothing tells whether anything is known here that denies as much as what was accepted, and may not be that. Of
// what denies all there is one in a bucket, which is the last that was made: so where nothing is kept longer than the
// bucket in which this is at least, that is this.
func (v *View) mayAddNothing(d record.Digest, r *record.Revocation, a record.Accepted) bool {
	hit, ok := v.index.Revoked(d, r.Cutoff())
	if ok && hit.Notice != nil && (hit.Taken.Outbox != a.Outbox || hit.Taken.Number != a.Number) {
		return true
	}
	least := record.Forever
	if !r.KeptUntil.IsZero() {
		least = record.BucketUntil(r.KeptUntil)
	}
	hit, ok = v.index.Committed(d, r.Cutoff())
	return ok && (r.Cutoff() < record.DeniesAll || hit.By == index.ByFailure || hit.Bucket > least)
}

// longestKept is, of the revocations in the log that deny what was issued at the second, the one that is kept longest.
func (v *View) longestKept(d record.Digest, issuedAt int64) (r record.Revocation, found bool, err error) {
	hit, ok := v.index.Committed(d, issuedAt)
	if !ok {
		return r, false, nil
	}
	if err := failed(hit); err != nil {
		return r, false, err
	}
	return v.stored(hit.Bucket, d, issuedAt)
}

// latest is the revocation with the latest cut-off of those of one name: the one that is shown.
func (v *View) latest(d record.Digest) (r record.Revocation, found bool, err error) {
	for issuedAt := record.NoIssuedAt; ; issuedAt = r.Cutoff() + 1 {
		later, ok, err := v.longestKept(d, issuedAt)
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
		r, ok, err := record.StoredRevocation(key, value, v.common.Get)
		if err != nil || !ok || r.OfCanary() {
			return err == nil, err
		}
		_, d, _, _ := record.ParseRevocationKey(key)
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

// maxSkipped bounds the records that one request for a list reads and leaves out.
const maxSkipped = 2000

// list reads up to limit records above a key of a table. Next is the key behind which it goes on, also if
// it has found less, as it reads a bounded number of records; empty when there are no more.
func list[T any](s *store.Store, t record.Table, above string, limit int, keep func(*T) (bool, error)) (items []T, next string, err error) {
	from := t.Key([]byte(above))
	if above != "" {
		from = append(from, 0)
	}
	skipped := 0
	var last []byte
	err = s.Scan(from, record.KeyAfter(t.Key()), func(key, value []byte) (bool, error) {
		if len(items) == limit || skipped == maxSkipped {
			next = string(last)
			return false, nil
		}
		var item T
		if err := record.Decode(value, &item); err != nil {
			return false, err
		}
		last = append(last[:0], key[1:]...)
		if keep != nil {
			if kept, err := keep(&item); err != nil || !kept {
				skipped++
				return err == nil, err
			}
		}
		items = append(items, item)
		return true, nil
	})
	return items, next, err
}
