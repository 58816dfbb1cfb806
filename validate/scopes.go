package validate

import (
	"slices"
	"strings"

	"veto/record"
)

// missing are those of the wanted scopes that the credential does not have. It does not allocate
// unless there are any.
func missing(c *Claims, wanted []string) []string {
	var all []string
	for _, s := range wanted {
		if !has(c, s) {
			all = append(all, s)
		}
	}
	return all
}

// has tells whether the credential has the scope: by its very name, or, as scopes of API keys are
// Veto's own, by a wildcard. What a scope of a token means is its issuer's to say.
func has(c *Claims, scope string) bool {
	if slices.Contains(c.Scopes, scope) {
		return true
	}
	return c.Kind == APIKey && slices.ContainsFunc(c.Scopes, func(held string) bool { return covers(held, scope) })
}

// covers tells whether what is held ends in a wildcard that stands for the rest of the scope: one
// segment or more. So orders:* covers orders:read and orders:read:own, and neither orders nor
// orders-old:read.
func covers(held, scope string) bool {
	before, wild := strings.CutSuffix(held, record.ScopeWildcard)
	return wild && len(scope) > len(before) && strings.HasPrefix(scope, before) && (before == "" || strings.HasSuffix(before, record.ScopeSeparator))
}
