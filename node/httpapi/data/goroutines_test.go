package data_test

import (
	"testing"

	"go.uber.org/goleak"
)

// Of fasthttp two stay for a while though their server is closed: who clears away workers, and who keeps the date.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"))
}
