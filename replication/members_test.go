package replication

import (
	"strings"
	"testing"

	"veto/client"
	"veto/replication/consensus"
)

// Who asks for a change of the members hears why there was none, before the client gives up.
func TestMemberLimitIsBelowTheClients(t *testing.T) {
	if memberLimit >= client.DefaultTimeout {
		t.Errorf("%s is not below %s", memberLimit, client.DefaultTimeout)
	}
}

// A node that hears of no leader says who is missing, and what to do about that.
func TestLeaderlessNamesWhoIsMissing(t *testing.T) {
	servers := []consensus.Server{{ID: "n1", Voter: true}, {ID: "n2", Voter: true}, {ID: "n3", Voter: true}, {ID: "r1"}}
	for there, want := range map[string]string{
		"n2 r1": "of the voters n1 n2 n3, 2 must reach each other, and it has met n2; start the others",
		"r1":    "and it has met none; start the others",
		"n1 n3": "and it has met n1 n3; their logs say why",
	} {
		if got := leaderlessOf(servers, strings.Fields(there)); !strings.Contains(got, want) {
			t.Errorf("%s: %s", there, got)
		}
	}
}
