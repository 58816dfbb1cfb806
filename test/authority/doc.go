// Package authority signs certificates for tests, as a cluster's authority does for its nodes.
package authority
