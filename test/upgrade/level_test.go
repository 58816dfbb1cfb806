package upgrade

import (
	"testing"

	"veto/record"
)

// askedThrough is the level of which TestRollingUpgrade asks, by knowsAll, what an older node does not know: passOn and opens
// are of it. The last version in PREVIOUS has it, too: so there is nothing that that one and the present one do differently.
const askedThrough = record.LevelTrail

// V2, as far as it is seen without the other version, so that no level comes without it.
func TestNewestLevelIsAskedFor(t *testing.T) {
	if record.LevelNewest != askedThrough {
		t.Errorf("level %d is the newest, and TestRollingUpgrade asks for what came up to %d: have TestRollingUpgrade ask each node, while there are older ones, for what the newer refuses then, "+
			"and knowsAll for what it does after, and say so here; see in PREVIOUS from which versions it rolls", record.LevelNewest, askedThrough)
	}
}
