package recovery

func (c *Config) Claim() error { return c.claim() }

func (c *Config) Undo() error { return c.undo() }
