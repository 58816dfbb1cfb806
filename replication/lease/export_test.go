package lease

// Keys is of how many keys shares are leased, or were until a short while ago.
func (l *Lessor) Keys() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.keys)
}
