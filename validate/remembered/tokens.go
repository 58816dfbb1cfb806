package remembered

import (
	"fmt"
	"strings"
	"time"

	"github.com/maypok86/otter/v2"

	"veto/validate"
	"veto/validate/keyset"
)

// Token is what is remembered of a token.
type Token struct {
	Claims *validate.Claims
	// Trust is what it was verified by.
	Trust *keyset.Trust
	// From (inclusive) until Until (exclusive) it passes all that depends on the time.
	From, Until time.Time
}

// Tokens may be used from anywhere at once.
type Tokens struct {
	cache *otter.Cache[string, *Token]
}

// overhead is about what is kept of a token besides its own text and its claims: the claims'
// fields, digests, and the cache's own.
const overhead = 1200

// New makes room for tokens that weigh up to maxBytes together.
func New(maxBytes uint64) (*Tokens, error) {
	cache, err := otter.New(&otter.Options[string, *Token]{
		MaximumWeight: maxBytes,
		Weigher: func(token string, t *Token) uint32 {
			return uint32(len(token) + 2*len(t.Claims.Raw) + overhead) //nolint:gosec // both are bounded by MaxCredential
		},
		// On the caller's goroutine: nobody else has to be stopped.
		Executor: func(f func()) { f() },
	})
	if err != nil {
		return nil, fmt.Errorf("remembered tokens: %w", err)
	}
	return &Tokens{cache}, nil
}

// Get finds the claims of a token. They are shared. It does not block, and does not keep the
// text.
func (x *Tokens) Get(token string, now time.Time) (*validate.Claims, bool) {
	t, ok := x.cache.GetIfPresent(token)
	if !ok {
		return nil, false
	}
	if !t.Trust.Live() || now.Before(t.From) || !now.Before(t.Until) {
		x.cache.Invalidate(token)
		return nil, false
	}
	return t.Claims, true
}

// Put remembers a copy of a token that was verified.
func (x *Tokens) Put(token string, t Token) { x.cache.Set(strings.Clone(token), &t) }

// Len is about how many tokens are remembered.
func (x *Tokens) Len() int { return x.cache.EstimatedSize() }

// Weight is about how many bytes they take.
func (x *Tokens) Weight() uint64 { return x.cache.WeightedSize() }
