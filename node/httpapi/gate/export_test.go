package gate

const MaxCallers = maxCallers

// Remembered is how many callers are.
func (r *Rates) Remembered() (young, aged int) { return len(r.young), len(r.aged) }
