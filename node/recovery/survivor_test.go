package recovery_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"veto/node/recovery"
	"veto/record/trail"
)

// D3: whoever merges a file that is no export, or only a part of one, is told, and no cluster is made without what was in it.
func TestWhatIsNoExportIsNotMerged(t *testing.T) {
	old := tell(t, 1)
	old.trustDemoIssuer()
	path, _ := old.backup(0)
	var entries bytes.Buffer
	require.NoError(t, old.at(0).ExportAudit(old.ctx, &entries, trail.Filter{}))
	old.stop(0)
	backup, err := os.ReadFile(path)
	require.NoError(t, err)
	s := old.successor(1)
	c := s.config(0)
	whole := fmt.Sprintf("{\"target\":\"subject\",\"issuer\":%q,\"value\":\"one\"}\n", old.cluster.Issuer().URL())
	merge := func(text string) error {
		file := filepath.Join(t.TempDir(), "file")
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		_, err := recovery.Restore(t.Context(), c, bytes.NewReader(backup), []string{file})
		return err
	}
	for name, text := range map[string]string{
		"a backup": string(backup), "an audit trail": entries.String(), "text": "revoked:\n" + whole, "zeros": strings.Repeat("\x00", 200_000),
	} {
		require.ErrorContains(t, merge(text), "its first line is no revocation", name)
	}
	require.ErrorContains(t, merge(whole+whole[:len(whole)/2]), "line 2, its last, has no end")
	left, err := os.ReadDir(c.Node.DataDir)
	require.NoError(t, err)
	require.Empty(t, left)
	require.NoError(t, merge("\n"+strings.TrimSpace(whole)))
}
