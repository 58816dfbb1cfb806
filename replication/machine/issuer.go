package machine

import (
	"bytes"
	"slices"
	"time"

	"veto/record"
)

// The keys of one issuer are bounded, and those that it retired as well: of these the ones
// over the bound are forgotten, and what they signed is then denied.
const (
	maxActiveKeys  = 100
	maxRetiredKeys = 100
)

func issuerKey(id string) []byte { return record.TableIssuers.Key([]byte(id)) }
func issKey(iss string) []byte   { return record.TableIss.Key([]byte(iss)) }
func keysKey(id string) []byte   { return record.TableSigningKeys.Key([]byte(id)) }

// formerKey is where the rules of an iss that is trusted no more are kept.
func formerKey(iss string) []byte { return record.TableMeta.Key([]byte("former/" + iss)) }

func (x *change) putIssuer(b record.PutIssuer) error {
	i := b.Issuer.WithDefaults()
	if err := i.Check(); err != nil {
		return err
	}
	if err := checkKeys(&i, b.Keys); err != nil {
		return err
	}
	old, err := x.before(i)
	if err != nil {
		return err
	}
	if i, err = holdToBefore(i, old, x.stamp); err != nil {
		return err
	}
	i.Revision = x.revision
	if err := x.state.Put(issKey(i.Issuer), []byte(i.ID)); err != nil {
		return err
	}
	if err := put(x.state, issuerKey(i.ID), i); err != nil {
		return err
	}
	x.ref = i.ID
	x.changed(&i, false, i.ID)
	x.audit.altered(i.ID, old, i)
	if !i.Inline() {
		return x.leaveSource(old, i)
	}
	return x.replaceKeys(i, record.SigningKeys{IssuerID: i.ID, FetchedAt: x.stamp, Keys: b.Keys})
}

// leaveSource drops the keys that came from another place than the one where they are now: what
// is trusted is what that one says, and nothing until it has.
func (x *change) leaveSource(old, now record.Issuer) error {
	if old.ID != now.ID || !old.Inline() && old.Discovery == now.Discovery && old.JWKSURI == now.JWKSURI {
		return nil
	}
	x.changed(&record.SigningKeys{IssuerID: now.ID, Revision: x.revision}, false, now.ID)
	return x.state.Delete(keysKey(now.ID))
}

// before is what was known of the issuer until now: as it is, or as it was when it was trusted
// before; without an ID if it never was.
func (x *change) before(i record.Issuer) (record.Issuer, error) {
	old, exists, err := get[record.Issuer](x.state, issuerKey(i.ID))
	if err != nil {
		return old, err
	}
	if exists && old.Issuer != i.Issuer {
		return old, record.Conflict("issuer %s stands for %s; delete it before it can stand for another", i.ID, old.Issuer)
	}
	owner, taken, err := x.state.Get(issKey(i.Issuer))
	if err != nil {
		return old, err
	}
	if taken && string(owner) != i.ID {
		return old, record.Conflict("%s is trusted already, as issuer %s", i.Issuer, owner)
	}
	if exists {
		return old, nil
	}
	if err := x.namesNoOthers(i); err != nil {
		return old, err
	}
	old, _, err = get[record.Issuer](x.state, formerKey(i.Issuer))
	return old, err
}

// namesNoOthers refuses to give an id to an iss while consumers have managers by it that were of another iss,
// which had it last: they would be other people then.
func (x *change) namesNoOthers(i record.Issuer) error {
	level, err := Level(x.state)
	if err != nil || level < record.LevelTrail {
		return err
	}
	var last record.Issuer
	prefix := formerKey("")
	err = x.state.Scan(prefix, record.KeyAfter(prefix), func(_, value []byte) (bool, error) {
		var former record.Issuer
		err := record.Decode(value, &former)
		if former.ID == i.ID && former.Revision > last.Revision {
			last = former
		}
		return true, err
	})
	if err != nil || last.ID == "" || last.Issuer == i.Issuer {
		return err
	}
	owner := ""
	prefix = consumerKey("")
	err = x.state.Scan(prefix, record.KeyAfter(prefix), func(_, value []byte) (bool, error) {
		var c record.Consumer
		err := record.Decode(value, &c)
		if slices.ContainsFunc(c.Managers, func(m record.Person) bool { return m.Issuer == i.ID }) {
			owner = c.ID
		}
		return owner == "", err
	})
	if err == nil && owner != "" {
		err = record.Conflict("issuer %s stood for %s, and by that consumer %s, and maybe others, has managers, who would now be of %s: take them off first, or give another id", i.ID, last.Issuer, owner, i.Issuer)
	}
	return err
}

// holdToBefore keeps tokens from before a change from outliving their revocations, which were
// kept by the rules of their time (P12).
func holdToBefore(i, old record.Issuer, stamp time.Time) (record.Issuer, error) {
	i.ShorterBefore, i.NoExpiryFrom = shorterBefore(old, i, stamp), time.Time{}
	if old.ID == "" {
		return i, nil
	}
	if i.AllowNoIssuedAt && !old.AllowNoIssuedAt {
		return i, record.Conflict("allow_no_issued_at: can be said only when an iss is trusted for the first time: revocations of %s were not kept for good until now", i.Issuer)
	}
	if i.AllowNoExpiry {
		i.NoExpiryFrom = old.NoExpiryFrom
		if !old.AllowNoExpiry {
			i.NoExpiryFrom = settled(stamp)
		}
	}
	return i, nil
}

// settled is when every token has been made after the change that has an iat after it: an issuer's
// clock may be ahead by the leeway, whatever that was or becomes.
func settled(change time.Time) time.Time { return change.Add(record.LongestLeeway) }

// shorterBefore holds tokens from before a raise of the longest lifetime to what it was:
// their revocations were kept no longer. A limit has done its work once no token from before
// it could still live.
func shorterBefore(old, now record.Issuer, stamp time.Time) []record.LifetimeLimit {
	var limits []record.LifetimeLimit
	for _, l := range old.ShorterBefore {
		if stamp.Before(l.IssuedBefore.Add(record.LongestMaxLifetime)) {
			limits = append(limits, l)
		}
	}
	if old.ID != "" && old.MaxLifetime < now.MaxLifetime {
		limits = append(limits, record.LifetimeLimit{IssuedBefore: settled(stamp), MaxLifetime: old.MaxLifetime})
	}
	return limits
}

// deleteIssuer keeps the rules, without keys, for the day on which the iss is trusted again.
func (x *change) deleteIssuer(b record.DeleteIssuer) error {
	i, ok, err := get[record.Issuer](x.state, issuerKey(b.ID))
	if err != nil {
		return err
	}
	if !ok {
		return record.NotFound("there is no issuer %s", b.ID)
	}
	for _, key := range [][]byte{issuerKey(i.ID), issKey(i.Issuer), keysKey(i.ID)} {
		if err := x.state.Delete(key); err != nil {
			return err
		}
	}
	former := i
	former.JWKS = nil
	if err := put(x.state, formerKey(i.Issuer), former); err != nil {
		return err
	}
	x.ref = i.ID
	x.changed(&i, true, i.ID)
	return nil
}

func checkKeys(i *record.Issuer, keys []record.SigningKey) error {
	if len(keys) > maxActiveKeys {
		return record.Invalid("the issuer has %d signing keys; at most %d", len(keys), maxActiveKeys)
	}
	if i.SharedSecret && len(keys) == 0 {
		return record.Invalid("shared_secret: give the secret")
	}
	for n := range keys {
		if err := keys[n].Check(); err != nil {
			return err
		}
		if i.SharedSecret != (len(keys[n].Secret) > 0) {
			return record.Invalid("an issuer has a shared secret or public keys, not both")
		}
	}
	return nil
}

func (x *change) putSigningKeys(b record.PutSigningKeys) error {
	i, ok, err := get[record.Issuer](x.state, issuerKey(b.Keys.IssuerID))
	if err != nil {
		return err
	}
	if !ok {
		return record.NotFound("there is no issuer %s", b.Keys.IssuerID)
	}
	if i.Inline() {
		return record.Conflict("the keys of issuer %s were given, and are not fetched", i.ID)
	}
	if b.Rules != i.Revision {
		return record.Conflict("the rules of issuer %s were changed while its keys were fetched; they are fetched again", i.ID)
	}
	if err := checkKeys(&i, b.Keys.Keys); err != nil {
		return err
	}
	x.ref = i.ID
	return x.replaceKeys(i, b.Keys)
}

// replaceKeys keeps those that a fetched set no longer has as retired, for as long as a token
// that they signed may live. What an operator gave is replaced outright, as are secrets.
func (x *change) replaceKeys(i record.Issuer, keys record.SigningKeys) error {
	old, _, err := get[record.SigningKeys](x.state, keysKey(i.ID))
	if err != nil {
		return err
	}
	keep := time.Duration(i.MaxLifetime + i.Leeway)
	var all []record.SigningKey
	for _, k := range keys.Keys {
		k.Status, k.RetiredAt = record.SigningKeyActive, time.Time{}
		all = append(all, k)
	}
	for _, k := range old.Keys {
		if k.Status == record.SigningKeyActive {
			k.Status, k.RetiredAt = record.SigningKeyRetired, x.stamp
		}
		again := slices.ContainsFunc(keys.Keys, func(n record.SigningKey) bool {
			return n.KID == k.KID && (n.KID != "" || bytes.Equal(n.JWK, k.JWK))
		})
		if !again && !i.Inline() && len(k.Secret) == 0 && x.stamp.Before(k.RetiredAt.Add(keep)) && len(all) < len(keys.Keys)+maxRetiredKeys {
			all = append(all, k)
		}
	}
	now := record.SigningKeys{IssuerID: i.ID, FetchedAt: keys.FetchedAt, Keys: all, Revision: x.revision}
	if sameKeys(old.Keys, all) {
		return nil
	}
	x.changed(&now, false, i.ID)
	x.audit.rekeyed(i.ID, old.Keys, all)
	return put(x.state, keysKey(i.ID), now)
}

func sameKeys(a, b []record.SigningKey) bool {
	return slices.EqualFunc(a, b, func(a, b record.SigningKey) bool {
		return a.KID == b.KID && a.Alg == b.Alg && a.Status == b.Status && bytes.Equal(a.JWK, b.JWK) && bytes.Equal(a.Secret, b.Secret)
	})
}

// issuerOf finds the issuer with the iss: one that is trusted, or that was. The latter may be
// trusted again, and a revocation may have been on its way to here when the trust ended.
func (m *Machine) issuerOf(s Reader, iss string) (*record.Issuer, error) {
	m.mu.Lock()
	i, ok := m.issuers[iss]
	m.mu.Unlock()
	if ok {
		return i, nil
	}
	i, err := readIssuer(s, iss)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.issuers == nil || len(m.issuers) >= mostIssuers {
		m.issuers = map[string]*record.Issuer{}
	}
	m.issuers[iss] = i
	return i, nil
}

func readIssuer(s Reader, iss string) (*record.Issuer, error) {
	id, ok, err := s.Get(issKey(iss))
	if err != nil {
		return nil, err
	}
	if !ok {
		if former, ok, err := get[record.Issuer](s, formerKey(iss)); ok || err != nil {
			return &former, err
		}
		return nil, record.NotFound("no trusted issuer has the iss %q; `veto issuers list` shows those there are", iss)
	}
	i, _, err := get[record.Issuer](s, issuerKey(string(id)))
	return &i, err
}
