package record

import (
	"cmp"
	"slices"
)

// Part is one more thing that a token must bear for a combination to deny it.
type Part struct {
	Target Target `json:"target" cbor:"1,keyasint"`
	Value  string `json:"value" cbor:"2,keyasint"`
}

// Canonical is the name with its parts in the order of their targets: the same parts in another
// order are the same name. Check takes no other form.
func (n Name) Canonical() Name {
	if len(n.And) == 0 {
		n.And = nil
		return n
	}
	parts := append(slices.Clone(n.And), Part{n.Target, n.Value})
	slices.SortStableFunc(parts, func(a, b Part) int { return cmp.Compare(a.Target, b.Target) })
	n.Target, n.Value, n.And = parts[0].Target, parts[0].Value, parts[1:]
	return n
}

func (n Name) checkCombination() error {
	if err := n.checkOne(); err != nil {
		return err
	}
	last := n.Target
	if bitOf(last) == 0 {
		return Invalid("and: a %s cannot be combined; subject, client, session and signing_key can", last)
	}
	for _, p := range n.And {
		switch {
		case bitOf(p.Target) == 0:
			return Invalid("and: a %s cannot be combined; subject, client, session and signing_key can", p.Target)
		case p.Target <= last:
			return Invalid("and: there is more than one %s, and a token has one", p.Target)
		case p.Value == "" || len(p.Value) > MaxNameValue:
			return Invalid("and: give the value of each, 1 to %d bytes", MaxNameValue)
		}
		last = p.Target
	}
	return nil
}
