package machine

import (
	"fmt"
	"time"

	"veto/record"
)

func (x *change) revoke(b record.Revoke) error {
	if len(b.Revocations) == 0 || len(b.Revocations) > record.MaxRevocations {
		return record.Invalid("give 1 to %d revocations", record.MaxRevocations)
	}
	key, err := x.digestKey()
	if err != nil {
		return err
	}
	// All are looked at before one is written: all or none.
	revocations := make([]record.Revocation, len(b.Revocations))
	for n, r := range b.Revocations {
		if err := r.Check(); err != nil {
			return err
		}
		r.At, r.By, r.Revision = x.stamp, x.by, x.revision
		if r.KeptUntil, err = x.keptUntil(&r); err != nil {
			return err
		}
		revocations[n] = r
		x.kept = append(x.kept, record.KeptUntil(r.KeptUntil))
	}
	for n := range revocations {
		r := &revocations[n]
		digest := key.Digest(r.Name)
		if x.ref == "" {
			x.ref = digest.RevocationID()
		}
		if err := x.addRevocation(r, digest); err != nil {
			return err
		}
	}
	return nil
}

// addRevocation writes one. The very same that was made before gives way to it: to look would
// take longer than to write.
func (x *change) addRevocation(r *record.Revocation, d record.Digest) error {
	if err := put(x.state, record.RevocationKey(r.Bucket(), d, r.Cutoff()), r); err != nil {
		return err
	}
	x.revoked(r, d)
	return nil
}

// revoked notes a revocation, whose id is made only if anyone will see it. The canary's are not
// for the audit trail.
func (x *change) revoked(r *record.Revocation, d record.Digest) {
	x.changes = append(x.changes, record.Change{Record: r, Digest: d})
	if !r.OfCanary() {
		x.audit.revocation(d)
	}
}

// keptUntil is when a revocation may be forgotten (P12); zero for never. It refuses names
// that nothing here can bear.
func (x *change) keptUntil(r *record.Revocation) (time.Time, error) {
	if !r.Target.OfIssuer() {
		return time.Time{}, x.checkOwned(r.Name)
	}
	if r.OfCanary() {
		return x.canaryUntil(r)
	}
	i, err := x.machine.issuerOf(x.state, r.Issuer)
	if err != nil {
		return time.Time{}, err
	}
	leeway := time.Duration(i.Leeway)
	switch {
	case r.Target.OneToken() && !r.Expiry.IsZero():
		return r.Expiry.Add(leeway), nil
	case i.AllowNoExpiry || i.AllowNoIssuedAt:
		return time.Time{}, nil
	case r.Target.OneToken() || !r.NotBefore.IsZero():
		from := x.foremost
		if r.NotBefore.After(from) {
			from = r.NotBefore
		}
		// A clock of the issuer may be ahead by the leeway, and the token be used that
		// much later than its exp.
		return from.Add(longestLifetime(i) + 2*leeway), nil
	}
	return time.Time{}, nil
}

// canaryKept is longer than anyone asks for a revocation of the canary's. No token bears its name,
// so nothing is allowed when it is forgotten.
const canaryKept = time.Minute

// canaryUntil is when a revocation of the canary's may be forgotten. Only the cluster itself makes
// any.
func (x *change) canaryUntil(r *record.Revocation) (time.Time, error) {
	if x.by != "" || r.Target != record.TargetJTI {
		return time.Time{}, record.Invalid("issuer: %s is the cluster's own, and nobody else revokes in its name", record.CanaryIssuer)
	}
	return x.foremost.Add(canaryKept), nil
}

// longestLifetime also covers tokens from before the limit was lowered.
func longestLifetime(i *record.Issuer) time.Duration {
	longest := i.MaxLifetime
	for _, l := range i.ShorterBefore {
		longest = max(longest, l.MaxLifetime)
	}
	return time.Duration(longest)
}

// checkOwned refuses to revoke a key or consumer that is not there, and the last admin's key.
func (x *change) checkOwned(n record.Name) error {
	if n.Target == record.TargetKey {
		k, err := x.key(n.Value)
		if err != nil {
			return err
		}
		x.taken = append(x.taken, k.ID)
		if !isAdmin(&k) {
			return nil
		}
		return x.anotherAdmin(k.ID)
	}
	_, ok, err := x.state.Get(consumerKey(n.Value))
	if err == nil && !ok {
		return record.NotFound("there is no %s %s", n.Target, n.Value)
	}
	return err
}

// lift takes back all revocations of one name.
func (x *change) lift(b record.Lift) error {
	if b.Reason == "" || len(b.Reason) > record.MaxReason {
		return record.Invalid("reason: say in 1 to %d bytes why the revocation is lifted", record.MaxReason)
	}
	gone, err := x.allOf(b.Digest)
	if err != nil {
		return err
	}
	if len(gone) == 0 {
		return record.NotFound("there is no revocation %s", b.Digest.RevocationID())
	}
	x.ref = b.Digest.RevocationID()
	for n := range gone {
		if err := x.state.Delete(gone[n].key); err != nil {
			return err
		}
		x.changes = append(x.changes, record.Change{Record: &gone[n].revocation, Gone: true, Digest: b.Digest})
		x.audit.record(kindRevocation, x.ref)
	}
	return nil
}

// stored is a revocation as it is in the state.
type stored struct {
	key        []byte
	revocation record.Revocation
}

// allOf reads all revocations of one name. Their keys begin with the bucket, so it goes from bucket
// to bucket, each found by a short scan.
func (x *change) allOf(d record.Digest) (all []stored, err error) {
	for bucket := record.Bucket(0); ; bucket++ {
		var ok bool
		if bucket, ok, err = x.nextBucket(bucket); err != nil || !ok {
			return all, err
		}
		if all, err = x.collect(all, bucket, d); err != nil || bucket == record.Forever {
			return all, err
		}
	}
}

// nextBucket finds the first bucket, from the given one on, that holds anything.
func (x *change) nextBucket(from record.Bucket) (next record.Bucket, ok bool, err error) {
	err = x.state.Scan(record.TableRevocations.Key(from.Bytes()), record.KeyAfter(record.TableRevocations.Key()), func(key, _ []byte) (bool, error) {
		next, _, _, ok = record.ParseRevocationKey(key)
		return false, nil
	})
	return next, ok, err
}

func (x *change) collect(into []stored, b record.Bucket, d record.Digest) ([]stored, error) {
	prefix := record.TableRevocations.Key(b.Bytes(), d[:])
	err := x.state.Scan(prefix, record.KeyAfter(prefix), func(key, value []byte) (bool, error) {
		r, ok, err := record.StoredRevocation(key, value, x.state.Get)
		if err == nil && !ok {
			err = fmt.Errorf("the state is damaged: it lacks what the revocation %s has in common with others", d.RevocationID())
		}
		if err != nil {
			return false, err
		}
		into = append(into, stored{append([]byte(nil), key...), r})
		return true, nil
	})
	return into, err
}

// expire drops whole buckets. It is no entry of the audit trail when there was nothing, or nothing
// but the canary's.
func (x *change) expire(b record.Expire) error {
	if b.Before == record.Forever {
		return record.Invalid("what is kept until it is lifted cannot expire")
	}
	if err := x.endSessions(func(s *record.PortalSession) bool { return !x.stamp.Before(s.ExpiresAt) }); err != nil {
		return err
	}
	for _, t := range []record.Table{record.TableRevocations, record.TableAlike, record.TableRequests} {
		from, to := t.Key(), t.Key(b.Before.Bytes())
		some, others := false, false
		err := x.state.Scan(from, to, func(_, value []byte) (bool, error) {
			some, others = true, t != record.TableRevocations || !ofCanary(value)
			return !others, nil
		})
		if err != nil {
			return err
		}
		if !some {
			continue
		}
		if err := x.state.DeleteRange(from, to); err != nil {
			return err
		}
		if t != record.TableRevocations {
			continue
		}
		expiry := &record.Expiry{Before: b.Before}
		if others {
			x.changed(expiry, true, b.Before.End().Format(time.RFC3339))
		} else {
			x.changes = append(x.changes, record.Change{Record: expiry, Gone: true})
		}
	}
	return nil
}

// ofCanary tells whether a stored revocation is the canary's, which are all whole. What cannot be read is not.
func ofCanary(value []byte) bool {
	var r record.Revocation
	return record.Decode(value, &r) == nil && r.OfCanary()
}
