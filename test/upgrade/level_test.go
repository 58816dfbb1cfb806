package upgrade

import (
	"testing"

	"veto/record"
)

// askedThrough is the level of which TestRollingUpgrade asks, by knowsLittle and knowsAll, what an older node does not
// know: passOn and opens are of it.
const askedThrough = record.LevelTrail

// V2, as far as it is seen without the other version, so that no level comes without it.
func TestNewestLevelIsAskedFor(t *testing.T) {
	if record.LevelNewest != askedThrough {
		t.Errorf("level %d is the newest, and TestRollingUpgrade asks for what came up to %d: have knowsLittle ask each node for what the new one refuses while there are older nodes, "+
			"and knowsAll for what it does after, and say so here; see in PREVIOUS from which version it rolls", record.LevelNewest, askedThrough)
	}
}
