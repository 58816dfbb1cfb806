package recovery

func (c *Config) Claim() error { return c.claim() }

func (c *Config) Undo() error { return c.undo() }

// Count counts a record of a state.
func (c *Contents) Count(key, value []byte) error { return c.count(meta{}, key, value) }
