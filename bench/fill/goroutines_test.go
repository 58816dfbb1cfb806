package main

import (
	"testing"

	"go.uber.org/goleak"
)

// fasthttp leaves for a while who clears away workers.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
}
