package machine

import "veto/record"

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
