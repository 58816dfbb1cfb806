package replication

import (
	"slices"
	"strings"
	"testing"

	"veto/client"
	"veto/replication/consensus"
	"veto/replication/roster"
)

// Who asks for a change of the members hears why there was none, before the client gives up.
func TestMemberLimitIsBelowTheClients(t *testing.T) {
	if memberLimit >= client.DefaultTimeout {
		t.Errorf("%s is not below %s", memberLimit, client.DefaultTimeout)
	}
}

// Of two nodes one opens the route between them: to a member that gossip takes for dead, too, and to none that has left or was removed.
func TestOneOfTwoOpensTheRoute(t *testing.T) {
	const dead = "dead"
	members := []roster.Member{
		{ID: "n1", RouteAddr: "1", State: stateAlive},
		{ID: "n2", RouteAddr: "2", State: dead},
		{ID: "n3", RouteAddr: "3", State: stateAlive},
		{ID: "n4", RouteAddr: "4", State: stateLeft},
		{ID: "n5", RouteAddr: "5", State: dead},
		{ID: "n6", State: stateAlive},
	}
	servers := []consensus.Server{{ID: "n1"}, {ID: "n2"}, {ID: "n3"}, {ID: "n4"}}
	for own, want := range map[string][]string{"n1": {"2", "3"}, "n2": {"3"}, "n3": nil} {
		if got := opened(own, members, servers); !slices.Equal(got, want) {
			t.Errorf("%s opens routes to %v, and not %v", own, got, want)
		}
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
