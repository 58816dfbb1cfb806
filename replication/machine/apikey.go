package machine

import (
	"slices"

	"veto/record"
)

func keyKey(id string) []byte               { return record.TableKeys.Key([]byte(id)) }
func keyHashKey(hash record.KeyHash) []byte { return record.TableKeyHashes.Key(hash[:]) }

func (x *change) createKey(b record.CreateKey) error {
	k := b.Key
	if err := k.Check(); err != nil {
		return err
	}
	for _, key := range [][]byte{keyKey(k.ID), keyHashKey(k.Hash)} {
		_, taken, err := x.state.Get(key)
		if err != nil {
			return err
		}
		if taken {
			return record.Conflict("this API key is there already")
		}
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

func (x *change) writeKey(was, k record.APIKey) error {
	k.Revision = x.revision
	x.changed(&k, false, k.ID)
	x.audit.altered(k.ID, was, k)
	if err := x.enroll(&was, &k); err != nil {
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
	if b.Disabled != nil {
		k.Disabled = *b.Disabled
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
	return x.removeKey(k.ID)
}

func (x *change) removeKey(id string) error {
	k, err := x.key(id)
	if err != nil {
		return err
	}
	for _, key := range [][]byte{keyKey(k.ID), keyHashKey(k.Hash), memberKey(k.Consumer, k.ID)} {
		if err := x.state.Delete(key); err != nil {
			return err
		}
	}
	if err := x.enroll(&k, &record.APIKey{ID: k.ID, Consumer: k.Consumer}); err != nil {
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
