// Package tokens makes the tokens that all are asked about: such as an OAuth 2.0 server makes (RFC 9068),
// of about 800 bytes.
package tokens
