package machine

import (
	"errors"
	"time"

	"veto/record"
)

// imported takes in part of a stream, from the first item on that was not taken in before. How
// far the stream has come is remembered as what came of its request.
func (x *change) imported(b record.Import, c record.Command) error {
	if c.Request.Key == "" || b.First == 0 || len(b.Items) == 0 || len(b.Items) > record.MaxImport {
		return record.Invalid("an import has an Idempotency-Key and 1 to %d items, numbered from 1", record.MaxImport)
	}
	last, _, err := recall(x.state, c)
	if err != nil {
		return err
	}
	x.through = last.Before
	kept := make([]keeping, len(b.Alike))
	through := last.Before
	for n, item := range b.Items {
		number := b.First + uint64(n)
		if number <= last.Before {
			continue
		}
		through = number
		err := x.importOne(b, item, kept)
		var rejection *record.Rejection
		if errors.As(err, &rejection) {
			x.refused = append(x.refused, record.Refusal{Number: number, Rejection: *rejection})
		} else if err != nil {
			return err
		}
	}
	if through == last.Before {
		return nil
	}
	return remember(x.state, c, record.Result{Revision: x.revision, Before: through})
}

// keeping is what was found out for one of those alike: how long it is kept is the same for all
// values, if the target is one of an issuer.
type keeping struct {
	known bool
	until time.Time
	err   error
}

func (x *change) importOne(b record.Import, item record.ImportItem, kept []keeping) error {
	if item.Alike < 0 || item.Alike >= len(b.Alike) {
		return record.Invalid("the item is like none of those in the import")
	}
	r := b.Alike[item.Alike]
	r.Value = item.Value
	if err := r.Check(); err != nil {
		return err
	}
	r.At, r.By, r.Revision = x.stamp, x.by, x.revision
	k := &kept[item.Alike]
	if !k.known || !r.Target.OfIssuer() {
		taken := len(x.taken)
		k.until, k.err = x.keptUntil(&r)
		k.known = true
		if k.err != nil {
			x.taken = x.taken[:taken]
		}
	}
	if k.err != nil {
		return k.err
	}
	r.KeptUntil = k.until
	key, err := x.digestKey()
	if err != nil {
		return err
	}
	return x.addRevocation(&r, key.Digest(r.Name))
}
