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

func (x *change) putIssuer(b record.PutIssuer) error {
	i := b.Issuer.WithDefaults()
	if err := i.Check(); err != nil {
		return err
	}
	if err := checkKeys(b.Keys); err != nil {
		return err
	}
	old, exists, err := get[record.Issuer](x.state, issuerKey(i.ID))
	if err != nil {
		return err
	}
	if exists && old.Issuer != i.Issuer {
		return record.Conflict("issuer %s stands for %s; delete it before it can stand for another", i.ID, old.Issuer)
	}
	owner, taken, err := x.state.Get(issKey(i.Issuer))
	if err != nil {
		return err
	}
	if taken && string(owner) != i.ID {
		return record.Conflict("%s is trusted already, as issuer %s", i.Issuer, owner)
	}
	i.ShorterBefore = shorterBefore(old, i, x.stamp)
	i.Revision = x.revision
	if err := x.state.Put(issKey(i.Issuer), []byte(i.ID)); err != nil {
		return err
	}
	if err := put(x.state, issuerKey(i.ID), i); err != nil {
		return err
	}
	x.ref = i.ID
	x.changed(&i, false, i.ID)
	if len(i.JWKS) == 0 {
		return nil
	}
	return x.replaceKeys(i, record.SigningKeys{IssuerID: i.ID, FetchedAt: x.stamp, Keys: b.Keys})
}

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
		limits = append(limits, record.LifetimeLimit{IssuedBefore: stamp, MaxLifetime: old.MaxLifetime})
	}
	return limits
}

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
	x.ref = i.ID
	x.changed(&i, true, i.ID)
	return nil
}

func checkKeys(keys []record.SigningKey) error {
	if len(keys) > maxActiveKeys {
		return record.Invalid("the issuer has %d signing keys; at most %d", len(keys), maxActiveKeys)
	}
	return nil
}

func (x *change) putSigningKeys(b record.PutSigningKeys) error {
	if err := checkKeys(b.Keys.Keys); err != nil {
		return err
	}
	i, ok, err := get[record.Issuer](x.state, issuerKey(b.Keys.IssuerID))
	if err != nil {
		return err
	}
	if !ok {
		return record.NotFound("there is no issuer %s", b.Keys.IssuerID)
	}
	x.ref = i.ID
	return x.replaceKeys(i, b.Keys)
}

// replaceKeys keeps those that the new set no longer has as retired, for as long as a token
// that they signed may live.
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
		if !again && x.stamp.Before(k.RetiredAt.Add(keep)) && len(all) < len(keys.Keys)+maxRetiredKeys {
			all = append(all, k)
		}
	}
	now := record.SigningKeys{IssuerID: i.ID, FetchedAt: keys.FetchedAt, Keys: all, Revision: x.revision}
	if sameKeys(old.Keys, all) {
		return nil
	}
	x.changed(&now, false, i.ID)
	return put(x.state, keysKey(i.ID), now)
}

func sameKeys(a, b []record.SigningKey) bool {
	return slices.EqualFunc(a, b, func(a, b record.SigningKey) bool {
		return a.KID == b.KID && a.Alg == b.Alg && a.Status == b.Status && bytes.Equal(a.JWK, b.JWK)
	})
}

// issuerOf finds the trusted issuer with the iss.
func (x *change) issuerOf(iss string) (record.Issuer, error) {
	id, ok, err := x.state.Get(issKey(iss))
	if err != nil {
		return record.Issuer{}, err
	}
	if !ok {
		return record.Issuer{}, record.NotFound("no trusted issuer has the iss %q; `veto issuers list` shows those there are", iss)
	}
	i, _, err := get[record.Issuer](x.state, issuerKey(string(id)))
	return i, err
}
