package gate

const MaxCallers = maxCallers

// Remembered is how many callers are.
func (r *Rates) Remembered() (young, aged int) { return len(r.young), len(r.aged) }

// Callers is how many callers have a place.
func (s *Shares) Callers() int { return len(s.taken) }
