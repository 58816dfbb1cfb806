// Package token signs JWTs for tests that have an issuer's key.
package token
