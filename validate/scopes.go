package validate

import (
	"slices"

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
	return c.Kind == APIKey && slices.ContainsFunc(c.Scopes, func(held string) bool { return record.CoversScope(held, scope) })
}
