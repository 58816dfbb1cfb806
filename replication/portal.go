package replication

import (
	"crypto/subtle"

	"veto/record"
)

// Session reads a portal session, which may have expired.
func (v *View) Session(id string) (record.PortalSession, bool, error) {
	var s record.PortalSession
	b, ok, err := v.store.Get(record.SessionKey(id))
	if err != nil || !ok {
		return s, false, err
	}
	return s, true, record.Decode(b, &s)
}

// SessionBySecret finds the portal session of a secret, by the SHA-256 of that; it may have expired.
func (v *View) SessionBySecret(sum record.KeyHash) (s record.PortalSession, ok bool, err error) {
	for _, h := range v.index.Keys().SessionHashes(sum) {
		if s, ok, err = v.Session(record.SessionID(h)); err != nil || ok && subtle.ConstantTimeCompare(s.Hash[:], h[:]) == 1 {
			return s, ok, err
		}
	}
	return record.PortalSession{}, false, nil
}

// Managed lists consumers that the person manages, at most the limit.
func (v *View) Managed(p record.Person, limit int) (ids []string, err error) {
	prefix := record.ManagerKey(p, "")
	err = v.store.Scan(prefix, record.KeyAfter(prefix), func(key, _ []byte) (bool, error) {
		ids = append(ids, string(key[len(prefix):]))
		return len(ids) < limit, nil
	})
	return ids, err
}

// KeyOf is Key for one of the consumer's. Of another's it looks at no more than of one that is not there.
func (v *View) KeyOf(consumer, id string) (record.APIKey, bool, error) {
	_, ok, err := v.store.Get(record.TableConsumerKey.Key([]byte(consumer), []byte{0}, []byte(id)))
	if err != nil || !ok {
		return record.APIKey{}, false, err
	}
	return v.Key(id)
}

// KeysOf lists the consumer's API keys with ids above after, and reads no others.
func (v *View) KeysOf(consumer, afterID string, limit int) ([]record.APIKey, error) {
	prefix := record.TableConsumerKey.Key([]byte(consumer), []byte{0})
	var ids []string
	err := v.store.Scan(append(append([]byte{}, prefix...), afterID+"\x00"...), record.KeyAfter(prefix), func(key, _ []byte) (bool, error) {
		ids = append(ids, string(key[len(prefix):]))
		return len(ids) < limit, nil
	})
	if err != nil {
		return nil, err
	}
	var items []record.APIKey
	for _, id := range ids {
		k, ok, err := v.Key(id)
		if err != nil {
			return nil, err
		}
		if ok { // or it was deleted since
			items = append(items, k)
		}
	}
	return items, nil
}
