package machine

import (
	"errors"

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
	if b.Former != nil {
		c.Former = *b.Former
	}
	if b.Managers != nil {
		c.Managers = *b.Managers
	}
	if b.Grantable != nil {
		c.Grantable = b.Grantable
	}
	if b.MaxKeys != nil {
		c.MaxKeys = *b.MaxKeys
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
	if err := x.appoint(&was, &c); err != nil {
		return err
	}
	if c.Disabled {
		if err := x.endSessions(func(s *record.PortalSession) bool { return s.Consumer == c.ID }); err != nil {
			return err
		}
	}
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
		k, err := x.key(id)
		if err == nil {
			err = x.removeKey(k)
		}
		if err != nil {
			return err
		}
	}
	if err := x.appoint(&c, &record.Consumer{ID: c.ID}); err != nil {
		return err
	}
	if err := x.endSessions(func(s *record.PortalSession) bool { return s.Consumer == c.ID }); err != nil {
		return err
	}
	x.ref = c.ID
	x.changed(&c, true, c.ID)
	return x.state.Delete(consumerKey(c.ID))
}

// appoint lists a consumer under its managers, and no more under those that it had.
func (x *change) appoint(was, is *record.Consumer) error {
	for _, m := range was.Managers {
		if err := x.state.Delete(record.ManagerKey(m, is.ID)); err != nil {
			return err
		}
	}
	for _, m := range is.Managers {
		if err := x.state.Put(record.ManagerKey(m, is.ID), nil); err != nil {
			return err
		}
	}
	return nil
}

func (x *change) openSession(b record.OpenSession) error {
	if b.Lifetime < record.MinSession || b.Lifetime > record.MaxSession || b.Hash == (record.KeyHash{}) {
		return record.Invalid("lifetime: give %s to %s", record.Duration(record.MinSession), record.Duration(record.MaxSession))
	}
	c, ok, err := get[record.Consumer](x.state, consumerKey(b.Consumer))
	if err != nil {
		return err
	}
	if !ok {
		return record.NotFound("there is no consumer %s", b.Consumer)
	}
	if c.Disabled {
		return record.Conflict("this consumer is disabled; enable it first")
	}
	s := record.PortalSession{
		ID: record.SessionID(b.Hash), Consumer: c.ID, Hash: b.Hash, ExpiresAt: x.stamp.Add(b.Lifetime),
		CreatedAt: x.stamp, CreatedBy: x.by, Revision: x.revision,
	}
	if err := x.makeRoom(&s); err != nil {
		return err
	}
	x.ref = s.ID
	x.changed(&s, false, s.ID)
	x.audit.altered(s.ID, record.PortalSession{}, s)
	return put(x.state, record.SessionKey(s.ID), s)
}

// makeRoom ends the oldest session of a consumer that has as many as it may. Those from before LevelTrail are not
// counted: they end by themselves within hours.
func (x *change) makeRoom(another *record.PortalSession) error {
	level, err := Level(x.state)
	if err != nil || level < record.LevelTrail {
		return err
	}
	var open []string
	prefix := record.SessionOfKey(another.Consumer, "")
	err = x.state.Scan(prefix, record.KeyAfter(prefix), func(key, _ []byte) (bool, error) {
		open = append(open, string(key[len(prefix):]))
		return true, nil
	})
	if err != nil {
		return err
	}
	var oldest record.PortalSession
	for _, id := range open {
		s, _, err := get[record.PortalSession](x.state, record.SessionKey(id))
		if err != nil {
			return err
		}
		if oldest.ID == "" || s.Revision < oldest.Revision {
			oldest = s
		}
	}
	if len(open) >= record.MaxSessions {
		x.changed(&oldest, true, oldest.ID)
		if err := x.removeSession(&oldest); err != nil {
			return err
		}
	}
	return x.state.Put(record.SessionOfKey(another.Consumer, another.ID), nil)
}

func (x *change) removeSession(s *record.PortalSession) error {
	return errors.Join(x.state.Delete(record.SessionKey(s.ID)), x.state.Delete(record.SessionOfKey(s.Consumer, s.ID)))
}

func (x *change) endSession(b record.EndSession) error {
	s, ok, err := get[record.PortalSession](x.state, record.SessionKey(b.ID))
	if err != nil {
		return err
	}
	if !ok || s.Consumer != b.Consumer {
		return record.NotFound("there is no portal session %s of consumer %s", b.ID, b.Consumer)
	}
	x.ref = s.ID
	x.changed(&s, true, s.ID)
	return x.removeSession(&s)
}

// endSessions ends those that are chosen. What ends them is in the audit trail; or it is the time.
func (x *change) endSessions(chosen func(*record.PortalSession) bool) error {
	var ended []record.PortalSession
	prefix := record.SessionKey("")
	err := x.state.Scan(prefix, record.KeyAfter(prefix), func(_, value []byte) (bool, error) {
		var s record.PortalSession
		err := record.Decode(value, &s)
		if err == nil && chosen(&s) {
			ended = append(ended, s)
		}
		return true, err
	})
	if err != nil {
		return err
	}
	for i := range ended {
		if err := x.removeSession(&ended[i]); err != nil {
			return err
		}
	}
	return nil
}

// manageKey does what a manager may. Whether it is one is looked at here, in the order of all changes:
// who was taken off the list makes no more keys, whatever node was asked.
func (x *change) manageKey(b record.ManageKey, c record.Command) error {
	owner, ok, err := get[record.Consumer](x.state, consumerKey(b.Consumer))
	if err != nil {
		return err
	}
	may := false
	if ok && !owner.Disabled {
		if may, err = x.manages(&owner, c); err != nil {
			return err
		}
	}
	if !may {
		return record.Conflict("whoever asks may not manage the keys of this consumer any more")
	}
	switch {
	case b.Create != nil && b.Roll == nil && b.Create.Key.Consumer == owner.ID:
		return x.createManaged(&owner, *b.Create)
	case b.Roll != nil && b.Create == nil:
		return x.rollManaged(&owner, *b.Roll)
	}
	return record.Invalid("a manager creates or rolls an API key of the consumer")
}

func (x *change) manages(owner *record.Consumer, c record.Command) (bool, error) {
	if !record.IsSessionID(c.By) {
		return owner.IsManager(c.From.Person) && c.By == c.From.Person.ID(), nil
	}
	s, ok, err := get[record.PortalSession](x.state, record.SessionKey(c.By))
	return ok && s.Consumer == owner.ID && x.stamp.Before(s.ExpiresAt), err
}

func notGrantable() error {
	return record.Invalid("scopes and roles: the API key has, or would have, more than managers of this consumer may give; GET /v1/me shows what that is")
}

func (x *change) createManaged(owner *record.Consumer, b record.CreateKey) error {
	if !owner.Grantable.Covers(&b.Key) {
		return notGrantable()
	}
	// Revoked keys count, too: or there would be no end of them.
	count, most := 0, owner.KeysAtMost()
	prefix := memberKey(owner.ID, "")
	err := x.state.Scan(prefix, record.KeyAfter(prefix), func(_, _ []byte) (bool, error) {
		count++
		return count < most, nil
	})
	if err != nil {
		return err
	}
	if count >= most {
		return record.Conflict("this consumer has %d API keys or more, revoked ones included, which is all that managers may make; an operator deletes some or raises max_keys", most)
	}
	return x.createKey(b)
}

// rollManaged gives out no secret of a key that a manager could not have made.
func (x *change) rollManaged(owner *record.Consumer, b record.RollKey) error {
	_, ok, err := x.state.Get(memberKey(owner.ID, b.ID))
	if err != nil {
		return err
	}
	if !ok {
		return record.NotFound("there is no API key %s", b.ID)
	}
	k, err := x.key(b.ID)
	if err != nil {
		return err
	}
	if !owner.Grantable.Covers(&k) {
		return notGrantable()
	}
	return x.rollKey(b)
}
