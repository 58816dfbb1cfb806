package replication

import (
	"testing"

	"veto/client"
)

// Who asks for a change of the members hears why there was none, before the client gives up.
func TestMemberLimitIsBelowTheClients(t *testing.T) {
	if memberLimit >= client.DefaultTimeout {
		t.Errorf("%s is not below %s", memberLimit, client.DefaultTimeout)
	}
}
