package validate

import (
	"encoding/base64"

	"veto/record"
)

// Actor is one link of a chain of delegation. What is not named is empty.
type Actor struct{ Issuer, Subject, Client string }

// usualNames is how many names most credentials bear at most.
const usualNames = 10

// marks are the digests of a credential's names, in their order, of the classes that were in use
// when they were made.
type marks struct {
	digests []record.Digest
	of      record.ClassSet
}

// TokenName is how a revocation names the JWT itself, which may have no jti.
func (c *Claims) TokenName() record.Name {
	var value [43]byte
	base64.RawURLEncoding.Encode(value[:], c.TokenHash[:])
	return record.Name{Target: record.TargetToken, Issuer: c.Issuer, Value: string(value[:])}
}

// names appends the names of the classes that a revocation of the credential could have.
func (c *Claims) names(to []record.Name, of record.ClassSet) []record.Name {
	if c.Key != nil {
		return c.keyNames(to, of)
	}
	if of.Has(record.Class(record.TargetToken)) {
		to = append(to, c.TokenName())
	}
	if of.Has(record.Class(record.TargetIssuer)) {
		to = append(to, record.Name{Target: record.TargetIssuer, Issuer: c.Issuer})
	}
	for _, t := range [...]record.Target{
		record.TargetJTI, record.TargetSubject, record.TargetClient, record.TargetSession, record.TargetSigningKey,
	} {
		to = appendNamed(to, of, t, c.Issuer, c.value(t))
	}
	for i := range c.Actors {
		a := &c.Actors[i]
		to = appendNamed(to, of, record.TargetSubject, a.Issuer, a.Subject)
		to = appendNamed(to, of, record.TargetClient, a.Issuer, a.Client)
	}
	for class := range of.Combinations().All() {
		if n, ok := c.combined(class); ok {
			to = append(to, n)
		}
	}
	return to
}

// keyNames are those of an API key; two at most.
func (c *Claims) keyNames(to []record.Name, of record.ClassSet) []record.Name {
	to = appendNamed(to, of, record.TargetKey, "", c.Key.ID)
	return appendNamed(to, of, record.TargetConsumer, "", c.Key.Consumer)
}

func appendNamed(to []record.Name, of record.ClassSet, t record.Target, issuer, value string) []record.Name {
	if value == "" || !of.Has(record.Class(t)) {
		return to
	}
	return append(to, record.Name{Target: t, Issuer: issuer, Value: value})
}

// value is what the token has of the target; empty if nothing.
func (c *Claims) value(t record.Target) string {
	switch t {
	case record.TargetJTI:
		return c.JTI
	case record.TargetSubject:
		return c.Subject
	case record.TargetClient:
		return c.Client
	case record.TargetSession:
		return c.Session
	case record.TargetSigningKey:
		return c.KID
	}
	return ""
}

// combined is the token's name in a class of combinations; false if it does not bear all parts.
func (c *Claims) combined(class record.Class) (record.Name, bool) {
	targets := class.Combined()
	n := record.Name{Target: targets[0], Issuer: c.Issuer, Value: c.value(targets[0])}
	for _, t := range targets[1:] {
		part := record.Part{Target: t, Value: c.value(t)}
		if part.Value == "" {
			return n, false
		}
		n.And = append(n.And, part)
	}
	return n, n.Value != ""
}
