package recovery

func (c *Config) Claim() error { return c.claim() }
