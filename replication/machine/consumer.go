package machine

import (
	"slices"

	"veto/record"
)

func consumerKey(id string) []byte { return record.TableConsumers.Key([]byte(id)) }

// memberKey lists a key under its consumer; with an empty key id it is their common prefix.
func memberKey(consumer, keyID string) []byte {
	return record.TableConsumerKey.Key([]byte(consumer), []byte{0}, []byte(keyID))
}

func (x *change) putConsumer(b record.PutConsumer) error {
	c := b.Consumer
	old, exists, err := get[record.Consumer](x.state, consumerKey(c.ID))
	if err != nil {
		return err
	}
	if c.CreatedAt = x.stamp; exists {
		c.CreatedAt = old.CreatedAt
	}
	return x.writeConsumer(old, c)
}

func (x *change) updateConsumer(b record.UpdateConsumer) error {
	c, ok, err := get[record.Consumer](x.state, consumerKey(b.ID))
	if err != nil {
		return err
	}
	if !ok {
		return record.NotFound("there is no consumer %s", b.ID)
	}
	was := c
	if b.Name != nil {
		c.Name = *b.Name
	}
	if b.Metadata != nil {
		c.Metadata = b.Metadata
	}
	if b.Managers != nil {
		c.Managers = *b.Managers
	}
	if b.Tags != nil {
		c.Tags = *b.Tags
	}
	if b.Disabled != nil {
		c.Disabled = *b.Disabled
	}
	return x.writeConsumer(was, c)
}

func (x *change) writeConsumer(was, c record.Consumer) error {
	if err := c.Check(); err != nil {
		return err
	}
	c.Revision = x.revision
	x.ref = c.ID
	x.changed(&c, false, c.ID)
	x.audit.altered(c.ID, was, c)
	return put(x.state, consumerKey(c.ID), c)
}

func (x *change) deleteConsumer(b record.DeleteConsumer) error {
	c, ok, err := get[record.Consumer](x.state, consumerKey(b.ID))
	if err != nil {
		return err
	}
	if !ok {
		return record.NotFound("there is no consumer %s", b.ID)
	}
	var keys []string
	prefix := memberKey(c.ID, "")
	err = x.state.Scan(prefix, record.KeyAfter(prefix), func(key, _ []byte) (bool, error) {
		keys = append(keys, string(key[len(prefix):]))
		return true, nil
	})
	if err != nil {
		return err
	}
	for _, id := range keys {
		if err := x.removeKey(id); err != nil {
			return err
		}
	}
	x.ref = c.ID
	x.changed(&c, true, c.ID)
	return x.state.Delete(consumerKey(c.ID))
}

func roleKey(r record.Role) []byte { return record.TableRoles.Key([]byte(r)) }

// holderKey lists a key under its role; with an empty key id it is their common prefix.
func holderKey(r record.Role, keyID string) []byte {
	return record.TableRoleKeys.Key([]byte(r), []byte{0}, []byte(keyID))
}

func (x *change) putRole(b record.PutRole) error {
	r := b.Role
	if err := r.Check(); err != nil {
		return err
	}
	old, exists, err := get[record.DefinedRole](x.state, roleKey(r.ID))
	if err != nil {
		return err
	}
	if r.CreatedAt = x.stamp; exists {
		r.CreatedAt = old.CreatedAt
	}
	r.Revision = x.revision
	x.ref = string(r.ID)
	x.changed(&r, false, x.ref)
	x.audit.altered(x.ref, old, r)
	return put(x.state, roleKey(r.ID), r)
}

// maxHolders are counted of a role that cannot be deleted.
const maxHolders = 1000

// deleteRole refuses while keys have the role: they would get the scopes of another that is given the
// same name one day, and nobody would have said so.
func (x *change) deleteRole(b record.DeleteRole) error {
	r, ok, err := get[record.DefinedRole](x.state, roleKey(b.ID))
	if err != nil {
		return err
	}
	if !ok {
		return record.NotFound("there is no role %s", b.ID)
	}
	holders := 0
	prefix := holderKey(b.ID, "")
	err = x.state.Scan(prefix, record.KeyAfter(prefix), func(_, _ []byte) (bool, error) {
		holders++
		return holders < maxHolders, nil
	})
	if err != nil {
		return err
	}
	if holders > 0 {
		more := ""
		if holders == maxHolders {
			more = " or more"
		}
		return record.Conflict("this role is in use by API keys: %d%s; take it from them first, or give it no scopes", holders, more)
	}
	x.ref = string(b.ID)
	x.changed(&r, true, x.ref)
	return x.state.Delete(roleKey(b.ID))
}

// rolesThere refuses a consumer's key with a role that nobody has defined.
func (x *change) rolesThere(k *record.APIKey) error {
	for _, r := range definedRoles(k) {
		_, ok, err := x.state.Get(roleKey(r))
		if err != nil {
			return err
		}
		if !ok {
			return &record.Rejection{Reason: record.ReasonUnknownRole, Detail: "there is no role " + string(r) + "; define it first"}
		}
	}
	return nil
}

// enroll lists a key under the roles that it has, and no more under those that it had.
func (x *change) enroll(was, is *record.APIKey) error {
	for _, r := range definedRoles(was) {
		if slices.Contains(is.Roles, r) {
			continue
		}
		if err := x.state.Delete(holderKey(r, was.ID)); err != nil {
			return err
		}
	}
	for _, r := range definedRoles(is) {
		if err := x.state.Put(holderKey(r, is.ID), nil); err != nil {
			return err
		}
	}
	return nil
}

// definedRoles are the roles of a consumer's key: Veto's own are always there.
func definedRoles(k *record.APIKey) []record.Role {
	if k.Consumer == "" {
		return nil
	}
	return k.Roles
}
