package measure

import (
	"errors"
	"sync"
)

// together does all of them at once, and gives the errors of those that failed. It is for starting and filling what is
// measured later: two things are never measured at once.
func together(all ...func() error) error {
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, do := range all {
		wg.Go(func() { errs[i] = do() })
	}
	wg.Wait()
	return errors.Join(errs...)
}
