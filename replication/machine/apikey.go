package machine

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"veto/record"
	"veto/record/limit"
)

func keyKey(id string) []byte               { return record.TableKeys.Key([]byte(id)) }
func keyHashKey(hash record.KeyHash) []byte { return record.TableKeyHashes.Key(hash[:]) }

func (x *change) createKey(b record.CreateKey) error {
	k := b.Key
	k.Limits = completed(k.Limits)
	if err := k.Check(); err != nil {
		return err
	}
	_, taken, err := x.state.Get(keyKey(k.ID))
	if err != nil {
		return err
	}
	if taken {
		return record.Conflict("this API key is there already")
	}
	if err := x.byNewest(k.Chain); err != nil {
		return err
	}
	if err := x.unknownSecret(append(b.Also, k.Hash)); err != nil {
		return err
	}
	if err := x.rolesThere(&k); err != nil {
		return err
	}
	if k.Consumer != "" {
		_, ok, err := x.state.Get(consumerKey(k.Consumer))
		if err != nil {
			return err
		}
		if !ok {
			return record.NotFound("there is no consumer %s; make it first", k.Consumer)
		}
		if err := x.state.Put(memberKey(k.Consumer, k.ID), nil); err != nil {
			return err
		}
	}
	k.CreatedAt, k.Created = x.stamp, x.revision
	if err := x.state.Put(keyHashKey(k.Hash), []byte(k.ID)); err != nil {
		return err
	}
	if x.ref == "" {
		x.ref = k.ID
	}
	return x.writeKey(record.APIKey{}, k)
}

// unknownSecret refuses a secret that a key has, by whichever of its hashes.
func (x *change) unknownSecret(hashes []record.KeyHash) error {
	for _, h := range hashes {
		same, taken, err := x.state.Get(keyHashKey(h))
		if err != nil {
			return err
		}
		if taken {
			return &record.Rejection{Reason: record.ReasonDuplicateKey, Detail: "the API key " + string(same) + " has this hash, and so this secret"}
		}
	}
	return nil
}

// writeKey also lets go of a secret whose overlap has ended.
func (x *change) writeKey(was, k record.APIKey) error {
	if k.Rotating != nil && !k.IsRotating(x.stamp) {
		k.Rotating = nil
	}
	k.Revision = x.revision
	x.changed(&k, false, k.ID)
	lapsed := was.Rotating != nil && !k.ByOld(was.Rotating.Hash)
	if lapsed {
		if err := x.state.Delete(keyHashKey(was.Rotating.Hash)); err != nil {
			return err
		}
	}
	if lapsed || was.ID != "" && was.Hash != k.Hash {
		x.changes[len(x.changes)-1].Was = &was
	}
	x.audit.altered(k.ID, was, k)
	if err := errors.Join(x.enroll(&was, &k), x.tally(&was, &k)); err != nil {
		return err
	}
	return put(x.state, keyKey(k.ID), k)
}

func (x *change) updateKey(b record.UpdateKey) error {
	k, err := x.key(b.ID)
	if err != nil {
		return err
	}
	was := k
	if b.Name != nil {
		k.Name = *b.Name
	}
	if b.Scopes != nil {
		k.Scopes = *b.Scopes
	}
	if b.Metadata != nil {
		k.Metadata = b.Metadata
	}
	if b.ExpiresAt != nil {
		k.ExpiresAt = *b.ExpiresAt
	}
	if b.Forever {
		k.ExpiresAt = time.Time{}
	}
	if b.Disabled != nil {
		k.Disabled = *b.Disabled
	}
	if b.Limits != nil {
		k.Limits = completed(b.Limits)
		if err := x.countAnew(&was, &k); err != nil {
			return err
		}
	}
	if b.Roles != nil {
		if k.IsOperator() {
			return record.Conflict("an operator's key keeps its roles; make another with those that it shall have")
		}
		k.Roles = *b.Roles
	}
	if err := k.Check(); err != nil {
		return err
	}
	if err := x.rolesThere(&k); err != nil {
		return err
	}
	if isAdmin(&was) && !isAdmin(&k) {
		if err := x.anotherAdmin(k.ID); err != nil {
			return err
		}
	}
	x.ref = k.ID
	return x.writeKey(was, k)
}

func (x *change) rollKey(b record.RollKey) error {
	k, err := x.key(b.ID)
	if err != nil {
		return err
	}
	if err := x.mayRoll(&k, b); err != nil {
		return err
	}
	was := k
	k.Hash, k.Hint, k.RolledAt, k.Rolled = b.Hash, b.Hint, x.stamp, x.revision
	k.Rotating = &record.Rotating{Hash: was.Hash, Hint: was.Hint, Until: x.stamp.Add(b.Overlap), Imported: was.Imported, Chain: was.Chain}
	k.Imported, k.Chain = false, b.Chain
	if b.Overlap == 0 {
		k.Rotating = nil
		if err := x.state.Delete(keyHashKey(was.Hash)); err != nil {
			return err
		}
	}
	if err := x.state.Put(keyHashKey(k.Hash), []byte(k.ID)); err != nil {
		return err
	}
	x.ref = k.ID
	return x.writeKey(was, k)
}

// mayRoll refuses a new secret where it would not work, or would end an older one too early.
func (x *change) mayRoll(k *record.APIKey, b record.RollKey) error {
	if b.Overlap < 0 || b.Overlap > record.MaxOverlap {
		return record.Invalid("overlap: give 0 to %s", record.Duration(record.MaxOverlap))
	}
	if b.Hash == (record.KeyHash{}) {
		return record.Invalid("key: has no hash")
	}
	if err := x.byNewest(b.Chain); err != nil {
		return err
	}
	_, taken, err := x.state.Get(keyHashKey(b.Hash))
	if err != nil {
		return err
	}
	if taken {
		return record.Conflict("this API key is there already")
	}
	revoked, err := x.isRevoked(k.ID)
	if err != nil {
		return err
	}
	refuse := func(reason record.Reason, detail string) error {
		return &record.Rejection{Reason: reason, Detail: detail}
	}
	switch {
	case revoked:
		return refuse(record.ReasonKeyRevoked, "this API key is revoked, and so would be a new secret of it; make another key")
	case k.Disabled:
		return refuse(record.ReasonKeyDisabled, "this API key is disabled, and so would be a new secret of it; enable it first")
	case k.IsExpired(x.stamp):
		return refuse(record.ReasonKeyExpired, "this API key has expired, and so would have a new secret of it; move expires_at first, or make another key")
	case k.IsRotating(x.stamp) && !b.Force:
		return refuse(record.ReasonKeyRotating, "an older secret of this API key is good until "+k.Rotating.Until.UTC().Format(time.RFC3339)+
			", and a key has one beside its own at most: wait, or give force to end it now")
	}
	return nil
}

// markLeaked marks a key once for each secret that it had. What is gone meanwhile is left out.
func (x *change) markLeaked(b record.MarkLeaked) error {
	if len(b.Keys) == 0 || len(b.Keys) > record.MaxRevocations {
		return record.Invalid("give 1 to %d keys", record.MaxRevocations)
	}
	for _, l := range b.Keys {
		if len(l.Where) > record.MaxLeakWhere {
			return record.Invalid("url: at most %d bytes", record.MaxLeakWhere)
		}
	}
	for _, l := range b.Keys {
		k, there, err := get[record.APIKey](x.state, keyKey(l.ID))
		if err != nil {
			return err
		}
		if !there || k.Leak != nil && k.Rolled <= k.Leak.Revision {
			continue
		}
		was := k
		k.LeakedAt, k.Leak = x.stamp, &record.Leak{Revision: x.revision, By: x.by, Where: l.Where}
		if x.ref == "" {
			x.ref = k.ID
		}
		if err := x.writeKey(was, k); err != nil {
			return err
		}
	}
	return nil
}

func usedKey(id string) []byte { return record.TableKeysUsed.Key([]byte(id)) }

// LastUsed is when the key was last used, as far as the log was told; zero if it never was.
func LastUsed(s Reader, id string) (record.Minute, error) {
	b, ok, err := s.Get(usedKey(id))
	if err != nil || !ok {
		return 0, err
	}
	m, ok := record.ParseMinute(b)
	if !ok {
		return 0, fmt.Errorf("when the API key %s was used cannot be read", id)
	}
	return m, nil
}

// keysUsed changes no record, and is of no concern to the audit trail. A node whose clock is ahead
// must not make a use of tomorrow.
func (x *change) keysUsed(b record.KeysUsed) error {
	if x.by != "" || len(b.Keys) > record.MaxKeysUsed {
		return record.Invalid("uses of keys are told by the nodes, and %d at a time at most", record.MaxKeysUsed)
	}
	for _, u := range b.Keys {
		last, err := LastUsed(x.state, u.ID)
		if err != nil {
			return err
		}
		at := min(u.At, record.MinuteOf(x.stamp))
		if at <= last {
			continue
		}
		_, there, err := x.state.Get(keyKey(u.ID))
		if err != nil {
			return err
		}
		if !there {
			continue
		}
		if err := x.state.Put(usedKey(u.ID), at.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

func (x *change) deleteKey(b record.DeleteKey) error {
	k, err := x.key(b.ID)
	if err != nil {
		return err
	}
	if isAdmin(&k) {
		if err := x.anotherAdmin(k.ID); err != nil {
			return err
		}
	}
	x.ref = k.ID
	return x.removeKey(k)
}

func (x *change) removeKey(k record.APIKey) error {
	keys := [][]byte{keyKey(k.ID), keyHashKey(k.Hash), memberKey(k.Consumer, k.ID), usageKey(k.ID), usedKey(k.ID)}
	if k.Rotating != nil {
		keys = append(keys, keyHashKey(k.Rotating.Hash))
	}
	for _, key := range keys {
		if err := x.state.Delete(key); err != nil {
			return err
		}
	}
	none := &record.APIKey{ID: k.ID, Consumer: k.Consumer}
	if err := errors.Join(x.enroll(&k, none), x.tally(&k, none)); err != nil {
		return err
	}
	k.Revision = x.revision
	x.changed(&k, true, k.ID)
	return nil
}

func (x *change) key(id string) (record.APIKey, error) {
	k, ok, err := get[record.APIKey](x.state, keyKey(id))
	if err == nil && !ok {
		return k, record.NotFound("there is no API key %s", id)
	}
	return k, err
}

// isAdmin tells whether the key has the state of one that can be used as an admin's, and that
// will not stop by itself.
func isAdmin(k *record.APIKey) bool {
	return k.HasRole(record.RoleAdmin) && !k.Disabled && k.ExpiresAt.IsZero()
}

// anotherAdmin refuses what would leave the cluster without an admin.
func (x *change) anotherAdmin(than string) error {
	found := false
	from := []byte{byte(record.TableKeys)}
	err := x.state.Scan(from, record.KeyAfter(from), func(_, value []byte) (bool, error) {
		var k record.APIKey
		if err := record.Decode(value, &k); err != nil {
			return false, err
		}
		if k.ID == than || !isAdmin(&k) || slices.Contains(x.taken, k.ID) {
			return true, nil
		}
		revoked, err := x.isRevoked(k.ID)
		found = !revoked
		return !found, err
	})
	if err == nil && !found {
		return record.Conflict("this is the last admin's key; make another before you take it away")
	}
	return err
}

// isRevoked tells whether a revocation denies the key. Those of keys are kept until lifted.
func (x *change) isRevoked(keyID string) (revoked bool, err error) {
	cluster, err := x.digestKey()
	if err != nil {
		return false, err
	}
	digest := cluster.Digest(record.Name{Target: record.TargetKey, Value: keyID})
	prefix := record.TableRevocations.Key(record.Forever.Bytes(), digest[:])
	err = x.state.Scan(prefix, record.KeyAfter(prefix), func(_, _ []byte) (bool, error) {
		revoked = true
		return false, nil
	})
	return revoked, err
}

// ExpiryInPast refuses a command that would make a key expired, by its stamp, unless its request was done
// before. The leader asks before it logs the command: what is in the log may be older than this rule.
func ExpiryInPast(s Reader, c record.Command) (*record.Rejection, error) {
	var at time.Time
	switch b := c.Body.(type) {
	case record.CreateKey:
		at = b.Key.ExpiresAt
	case record.UpdateKey:
		if b.ExpiresAt != nil {
			at = *b.ExpiresAt
		}
	case record.ManageKey:
		if b.Create != nil {
			at = b.Create.Key.ExpiresAt
		}
	}
	if at.IsZero() || c.Stamp.Before(at) {
		return nil, nil
	}
	_, done, err := recall(s, c)
	if done || errors.As(err, new(*record.Rejection)) {
		return nil, nil // what came of it, or that it was another request, the log says
	}
	return &record.Rejection{
		Reason: record.ReasonExpiryInPast,
		Detail: "expires_at: has been already, by the cluster's time " + c.Stamp.UTC().Format(time.RFC3339) + "; give a later one, or disable the key",
	}, err
}

func usageKey(id string) []byte { return record.TableUsage.Key([]byte(id)) }

// Usage reads how much of a key's quota is taken; false if nothing ever was.
func Usage(s Reader, keyID string) (limit.Usage, bool, error) {
	return get[limit.Usage](s, usageKey(keyID))
}

// completed are the limits with their defaults; nil for none.
func completed(l *limit.Limits) *limit.Limits {
	if l == nil || *l == (limit.Limits{}) {
		return nil
	}
	c := *l
	c.Complete()
	return &c
}

// countAnew forgets what was taken of a quota of another period: its window tells nothing of the new
// one, and may begin later.
func (x *change) countAnew(was, k *record.APIKey) error {
	period := func(k *record.APIKey) limit.Period {
		if k.Limits == nil {
			return 0
		}
		return k.Limits.Quota.Period
	}
	if period(was) == period(k) {
		return nil
	}
	return x.state.Delete(usageKey(k.ID))
}

// drawQuota counts what nodes take out of quotas. That is no change of a record: nobody is told,
// and it is not in the audit trail.
func (x *change) drawQuota(b record.DrawQuota) error {
	if len(b.Draws) > limit.MaxDraws {
		return record.Invalid("at most %d draws in one command", limit.MaxDraws)
	}
	for _, d := range b.Draws {
		drawn, err := x.draw(d)
		if err != nil {
			return err
		}
		x.drawn = append(x.drawn, drawn)
	}
	return nil
}

// draw gives nothing of a key that is gone, that has no quota now, or of a window that has not begun
// by the leader's clock.
func (x *change) draw(d limit.Draw) (limit.Drawn, error) {
	k, ok, err := get[record.APIKey](x.state, keyKey(d.Key))
	if err != nil || !ok || k.Limits == nil || k.Limits.Quota == (limit.Quota{}) {
		return limit.Drawn{}, err
	}
	if now, _ := k.Limits.Quota.Period.Window(x.stamp); d.Window > now {
		return limit.Drawn{}, nil
	}
	was, _, err := Usage(x.state, d.Key)
	if err != nil {
		return limit.Drawn{}, err
	}
	usage, drawn := was.Apply(d, k.Limits.Quota.Requests)
	if usage == was {
		return drawn, nil
	}
	return drawn, put(x.state, usageKey(d.Key), usage)
}
