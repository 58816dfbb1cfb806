package node_test

import (
	"testing"

	"go.uber.org/goleak"
)

// Memberlist leaves the probe that is under way when it is shut down. Raft forgets whoever waits for what was in its queue when it was shut down; and fasthttp leaves for a while who clears away
// workers, and who keeps the date.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).probeNode"),
		goleak.IgnoreAnyFunction("github.com/hashicorp/raft.(*deferError).Error"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"), goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"))
}
