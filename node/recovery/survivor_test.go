package recovery_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"veto/client"
	"veto/node/recovery"
	"veto/record"
	"veto/record/trail"
	"veto/replication/backup"
	"veto/replication/store"
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
	require.ErrorContains(t, merge("\n"), "it is empty")
	pipe := filepath.Join(t.TempDir(), "pipe") // that nobody writes
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	_, err = recovery.Restore(t.Context(), c, bytes.NewReader(backup), []string{pipe})
	require.ErrorContains(t, err, "it is empty")
	require.ErrorContains(t, merge(whole+whole[:len(whole)/2]), "line 2, its last, has no end")
	left, err := os.ReadDir(c.Node.DataDir)
	require.NoError(t, err)
	require.Empty(t, left)
	require.NoError(t, merge("\n"+strings.TrimSpace(whole)))
}

// D3
func TestRestoreRefuses(t *testing.T) {
	old := tell(t, 1)
	old.key()
	path, _ := old.backup(0)
	file, err := os.ReadFile(path)
	require.NoError(t, err)
	other := old.successor(1)
	restore := func(change func(*recovery.Config), file []byte, survivors ...string) error {
		c := other.config(0)
		change(&c)
		_, err := recovery.Restore(t.Context(), c, bytes.NewReader(file), survivors)
		_, known, errRead := store.ReadIdentity(c.Node.DataDir)
		require.NoError(t, errRead)
		require.Equal(t, err == nil, known)
		return err
	}
	left := func() []string {
		there, err := os.ReadDir(other.config(0).Node.DataDir)
		if !os.IsNotExist(err) {
			require.NoError(t, err)
		}
		names := []string{}
		for _, e := range there {
			names = append(names, e.Name())
		}
		return names
	}
	none := func(*recovery.Config) {}
	for at := 0; at < len(file); at += 1 + len(file)/40 {
		require.Error(t, restore(none, file[:at]), "cut at %d", at)
		changed := bytes.Clone(file)
		changed[at] ^= 0x10
		require.Error(t, restore(none, changed), "changed at %d", at)
	}
	require.ErrorContains(t, restore(func(c *recovery.Config) { c.Node.PepperKeyFile = "" }, file), "API keys could not be checked")
	require.ErrorContains(t, restore(func(c *recovery.Config) { c.Node.Role = "replica" }, file), "must vote")
	require.ErrorIs(t, restore(none, []byte("age-encryption.org/v1\n")), backup.ErrNotBackup)
	require.Error(t, restore(none, file, filepath.Join(t.TempDir(), "nothing")))
	require.ErrorContains(t, restore(none, file, filepath.Join(old.dir, "n1")), "in use by another veto process")
	require.ErrorContains(t, restore(none, file, t.TempDir()), "no data directory")
	export := filepath.Join(t.TempDir(), "export.ndjson")
	require.NoError(t, os.WriteFile(export, []byte(`{"target":"key","value":"key_00000000000000000000000000"}`), 0o600))
	require.ErrorContains(t, restore(none, file, export, filepath.Dir(export)+"/./"+filepath.Base(export)), "given twice")
	require.ErrorContains(t, restore(none, file, other.config(0).Node.DataDir), "that is restored into")
	stranger := tell(t, 1)
	stranger.stop(0)
	require.ErrorContains(t, restore(none, file, filepath.Join(stranger.dir, "n1")), "of another cluster")
	require.Empty(t, left())

	require.NoError(t, os.WriteFile(filepath.Join(other.config(0).Node.DataDir, "something"), nil, 0o600))
	require.ErrorContains(t, restore(none, file), "not empty, something is there")
	require.Equal(t, []string{"something"}, left())
	require.NoError(t, os.Remove(filepath.Join(other.config(0).Node.DataDir, "something")))
	require.NoError(t, restore(none, file))
	require.ErrorContains(t, func() error { // and not twice
		_, err := recovery.Restore(t.Context(), other.config(0), bytes.NewReader(file), nil)
		return err
	}(), "not empty")
}

// D2: of what is exported each line is told of that is not revoked now.
func TestMergedLinesAreTold(t *testing.T) {
	old := tell(t, 1)
	old.trustDemoIssuer()
	iss := old.cluster.Issuer().URL()
	old.revoke(0, client.RevokeRequest{Target: "subject", Issuer: iss, Value: "known"})
	path, _ := old.backup(0)
	old.stop(0)
	lines := []string{
		fmt.Sprintf(`{"target":"subject","issuer":%q,"value":"known"}`, iss),
		fmt.Sprintf(`{"target":"subject","issuer":%q,"value":"known","not_before":"2026-01-01T00:00:00Z"}`, iss), // less than what stands
		fmt.Sprintf(`{"target":"subject","issuer":%q,"value":"new","not_before":"2026-01-01T00:00:00Z","reason":"gone"}`, iss),
		fmt.Sprintf(`{"target":"subject","issuer":%q,"value":"new","and":[{"target":"client","value":"c"}]}`, iss),
		`{"target":"jti","issuer":"https://nobody.example","value":"x"}`,
		`{"target":"key","value":"key_unknown"}`,
		`not JSON`,
		`{"token":"eyJhbGciOiJub25lIn0.e30."}`,
		`{"target":"jti","issuer":"` + strings.Repeat("x", 100_000) + `","value":"x"}`,
		``,
		fmt.Sprintf(`{"target":"jti","issuer":%q,"value":"last"}`, iss), // without an end
	}
	file := filepath.Join(t.TempDir(), "export.ndjson")
	require.NoError(t, os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o600))
	s := old.successor(1)
	var refused []string
	m := s.restoreWith(path, func(r record.Revocation) error { refused = append(refused, r.Value); return nil }, file).Merged[0]
	require.Equal(t, []string{"x", "key_unknown"}, refused)
	require.EqualValues(t, 7, m.Revocations)
	require.EqualValues(t, 3, m.Added)
	require.EqualValues(t, 5, m.Refused)
	for _, where := range []string{"line 5: ", "line 6: ", "line 7: ", "line 8: ", "line 9: "} {
		require.True(t, slices.ContainsFunc(m.Refusals, func(r string) bool { return strings.HasPrefix(r, where) }), "%s in %v", where, m.Refusals)
	}
	s.begin()
	all, err := s.at(0).Revocations(s.ctx, client.List{Limit: 100})
	require.NoError(t, err)
	found := map[string]int{}
	for _, r := range all.Items {
		found[r.Value]++
	}
	require.Equal(t, map[string]int{"known": 1, "new": 2, "last": 1}, found)
}
