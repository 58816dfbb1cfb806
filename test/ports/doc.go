// Package ports gives tests ports to listen on that no other test is given meanwhile, of this process or of another: go test
// runs the tests of several packages at once.
package ports
