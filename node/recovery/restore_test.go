package recovery_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"veto/client"
	"veto/node"
	"veto/node/recovery"
	"veto/record"
	"veto/replication/backup"
	"veto/replication/store"
	"veto/validate"
)

// D1
func TestRestoreIntoANewCluster(t *testing.T) {
	old := tell(t, 1)
	old.trustDemoIssuer()
	revoked, good, key := old.token(), old.token(), old.key()
	old.eventually(0, good, validate.OK)
	old.revoke(0, client.RevokeRequest{Token: revoked, Reason: "leaked"})
	_, err := old.at(0).RotatePepper(old.ctx)
	require.NoError(t, err)
	path, contents := old.backup(0)
	require.EqualValues(t, 1, contents.Issuers)
	require.EqualValues(t, 1, contents.Consumers)
	require.EqualValues(t, 2, contents.Keys)
	require.EqualValues(t, 1, contents.Revocations)
	require.Len(t, contents.WrappedBy, 1, "of two peppers, both by one key")
	was := old.status(0)
	old.stop(0)

	s := old.successor(3)
	restored := s.restore(path)
	require.Equal(t, contents.Revision, restored.From)
	require.Equal(t, contents.Revision+recovery.Gap, restored.Begins)
	require.Equal(t, was.ID, restored.Was)
	s.begin()
	for i := range 3 {
		s.eventually(i, revoked, validate.Revoked)
		s.eventually(i, good, validate.OK)
		s.eventually(i, key.Secret, validate.OK)
	}
	status := s.status(2)
	require.Equal(t, restored.Cluster, status.ID)
	require.NotEqual(t, was.ID, status.ID)
	require.Greater(t, status.Revision, restored.Begins)
	// P6: whoever asks for a revision that may be of what is missing is not answered as if it were here.
	for i := range 3 {
		for min, want := range map[record.Revision]validate.Code{
			contents.Revision: validate.OK, contents.Revision + 1: validate.BehindMinRevision, restored.Begins - 1: validate.BehindMinRevision, restored.Begins: validate.OK,
		} {
			v, err := s.at(i).Validate(s.ctx, client.Question{Credential: good, MinRevision: min})
			require.NoError(t, err)
			require.Equal(t, want, v.Code, "min_revision %d", min)
		}
	}
	// It goes on: what is changed is changed on all, and another key is stored by the pepper that came along.
	second := s.key()
	s.revoke(1, client.RevokeRequest{Target: "key", Value: key.ID})
	for i := range 3 {
		s.eventually(i, second.Secret, validate.OK)
		s.eventually(i, key.Secret, validate.Revoked)
	}
	s.whole("restore", 0, 1, 2)
	_, again := s.backup(2)
	require.Greater(t, again.Revision, contents.Revision)
	require.Equal(t, restored.Cluster, again.ClusterID)
}

// A backup has as many revocations as lists show, the parts of streams among them.
func TestCanarysRevocationsAreNotCounted(t *testing.T) {
	var c recovery.Contents
	for _, issuer := range []string{record.CanaryIssuer, "https://idp.example"} {
		value, err := record.Encode(&record.Revocation{Name: record.Name{Target: record.TargetJTI, Issuer: issuer, Value: "v"}})
		require.NoError(t, err)
		require.NoError(t, c.Count(record.RevocationKey(1, record.Digest{}, record.DeniesAll), value))
	}
	require.NoError(t, c.Count(record.RevocationKey(1, record.Digest{}, record.DeniesAll), append(record.NewAlike(1, 0), "v"...)))
	require.EqualValues(t, 2, c.Revocations)
	require.EqualValues(t, 3, c.Records)
}

// D2: a survivor's directory tells what was committed after the backup, and what it took and nobody else has.
func TestRestoreMergesSurvivors(t *testing.T) {
	old := tell(t, 3)
	old.trustDemoIssuer()
	before, after, alone, lifted := old.token(), old.token(), old.token(), old.token()
	key := old.key()
	old.revoke(0, client.RevokeRequest{Token: before})
	mistake := old.revoke(0, client.RevokeRequest{Token: lifted})
	old.reached(1, mistake.Revision)
	path, contents := old.backup(1)
	_, err := old.at(0).Lift(old.ctx, mistake.ID, "a mistake")
	require.NoError(t, err)
	last := old.revoke(1, client.RevokeRequest{Token: after, Reason: "after"})
	keyRevoked := old.revoke(1, client.RevokeRequest{Target: "key", Value: key.ID})
	old.reached(0, keyRevoked.Revision)
	old.stop(1, 2)
	old.pending(0, client.RevokeRequest{Token: alone, Reason: "alone"})
	old.stop(0)

	s := old.successor(1)
	restored := s.restore(path, filepath.Join(old.dir, "n1"))
	require.Len(t, restored.Merged, 1)
	m := restored.Merged[0]
	// after, the key, alone; and what the outbox has not forgotten yet, though the log has it
	require.GreaterOrEqual(t, m.Added, uint64(3), "%+v", m)
	require.LessOrEqual(t, m.Added, uint64(5), "%+v", m)
	require.GreaterOrEqual(t, m.Through, last.Revision)
	require.Zero(t, m.Refused, "%v", m.Refusals)
	require.Less(t, contents.Revision, last.Revision)
	s.begin()
	for _, credential := range []string{before, after, alone, key.Secret} {
		s.eventually(0, credential, validate.Revoked)
	}
	s.eventually(0, lifted, validate.Revoked) // which denies too much, and never too little
	all, err := s.at(0).Revocations(s.ctx, client.List{Limit: 100})
	require.NoError(t, err)
	require.True(t, slices.ContainsFunc(all.Items, func(r client.Revocation) bool { return r.Reason == "alone" }))
	s.whole("restore", 0)
}

// D2: a node that was left out when its cluster went on with another is still a survivor of it.
func TestMergeWhatAnotherNodeHadPending(t *testing.T) {
	old := tell(t, 3)
	old.trustDemoIssuer()
	alone := old.token()
	old.stop(0, 2)
	old.pending(1, client.RevokeRequest{Token: alone, Reason: "alone"})
	old.stop(1)
	_, err := recovery.Recover(old.config(0))
	require.NoError(t, err)
	old.restart(0)
	old.ready(0)
	path, contents := old.backup(0)
	old.stop(0)

	s := old.successor(1)
	restored := s.restore(path, filepath.Join(old.dir, "n2"))
	require.Equal(t, contents.ClusterID, restored.Was)
	require.Positive(t, restored.Merged[0].Added, "%+v", restored.Merged) // the log of one that led may have it, too
	s.begin()
	s.eventually(0, alone, validate.Revoked)
}

// D8: a survivor may be of a cluster that was made of the backup's, whose revisions are ahead of those of the backup.
func TestRevisionsOfARecoveredClusterAreNotGivenAgain(t *testing.T) {
	old := tell(t, 1)
	old.trustDemoIssuer()
	revoked, good := old.token(), old.token()
	old.eventually(0, good, validate.OK)
	path, contents := old.backup(0)
	old.stop(0)
	recovered, err := recovery.Recover(old.config(0))
	require.NoError(t, err)
	old.restart(0)
	old.ready(0)
	last := old.revoke(0, client.RevokeRequest{Token: revoked}).Revision
	require.Greater(t, last, recovered.Begins)
	old.stop(0)

	s := old.successor(1)
	restored := s.restore(path, filepath.Join(old.dir, "n1"))
	require.Equal(t, contents.Revision, restored.From)
	require.GreaterOrEqual(t, restored.Merged[0].Through, last)
	require.Equal(t, restored.Merged[0].Through+recovery.Gap, restored.Begins)
	s.begin()
	s.eventually(0, revoked, validate.Revoked)
	s.eventually(0, good, validate.OK)
	for _, min := range []record.Revision{contents.Revision + 1, recovered.Begins, last, restored.Begins - 1} {
		v, err := s.at(0).Validate(s.ctx, client.Question{Credential: good, MinRevision: min})
		require.NoError(t, err)
		require.Equal(t, validate.BehindMinRevision, v.Code, "min_revision %d", min)
	}
}

// D3, D6: a directory that has lost a part of what its node answered for is not taken for the whole, by nobody.
func TestIncompleteDirectory(t *testing.T) {
	s, token, path := oneRevoked(t)
	c := s.config(0)
	next := s.successor(1)
	into := next.config(0)
	into.Node.CertsDir = c.Node.CertsDir
	for _, part := range []string{"raft", "outbox"} {
		whole, away := filepath.Join(c.Node.DataDir, part), filepath.Join(t.TempDir(), part)
		require.NoError(t, os.Rename(whole, away))
		var incomplete *recovery.IncompleteError
		_, err := recovery.Look(c)
		require.ErrorAs(t, err, &incomplete)
		_, err = recovery.Recover(c)
		require.ErrorAs(t, err, &incomplete)
		f, err := os.Open(path)
		require.NoError(t, err)
		_, err = recovery.Restore(t.Context(), into, f, []string{c.Node.DataDir})
		require.NoError(t, f.Close())
		require.ErrorAs(t, err, &incomplete)
		require.NoDirExists(t, whole)
		require.NoError(t, os.Rename(away, whole))
	}

	start := func(c recovery.Config) error {
		_, err := node.Start(c.Node, node.Surroundings{Version: "test", Now: c.Now, Log: c.Log, AdminToken: func(string) error { return nil }})
		return err
	}
	log, away := filepath.Join(c.Node.DataDir, "raft", "log"), filepath.Join(t.TempDir(), "log")
	require.NoError(t, os.Rename(log, away))
	require.ErrorContains(t, start(c), "there is no log in")
	require.NoDirExists(t, log)
	require.NoError(t, os.Rename(away, log))
	segments := filepath.Join(log, "wal-meta.db")
	b, err := os.ReadFile(segments)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(segments, nil, 0o600))
	require.ErrorContains(t, start(c), "there is no log in")
	var incomplete *recovery.IncompleteError
	_, err = recovery.Look(c)
	require.ErrorAs(t, err, &incomplete)
	require.NoError(t, os.WriteFile(segments, b, 0o600))
	s.restart(0)
	s.ready(0)
	s.eventually(0, token, validate.Revoked)
	s.stop(0)
	next.restore(path, c.Node.DataDir)
	require.NoError(t, os.RemoveAll(filepath.Join(into.Node.DataDir, "raft")))
	require.ErrorContains(t, start(into), "there is no log in")
}

// oneRevoked is a cluster that has stopped, the token that was revoked in it, and its backup.
func oneRevoked(t *testing.T) (s *story, token, path string) {
	t.Helper()
	s = tell(t, 1)
	s.trustDemoIssuer()
	token = s.token()
	s.revoke(0, client.RevokeRequest{Token: token})
	path, _ = s.backup(0)
	s.stop(0)
	return s, token, path
}

// D9: an empty directory may be where a disk is not mounted: it goes for the part that is lost, and that is said each time.
func TestEmptyPartsAreTold(t *testing.T) {
	s, token, path := oneRevoked(t)
	c := s.config(0)
	whole, err := recovery.Look(c)
	require.NoError(t, err)
	require.Empty(t, whole.Lacks)
	log, outbox := filepath.Join("raft", "log"), "outbox"
	unmount := func(part string) (mount func()) {
		dir, away := filepath.Join(c.Node.DataDir, part), filepath.Join(t.TempDir(), "away")
		require.NoError(t, os.Rename(dir, away))
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "lost+found"), 0o700))
		return func() {
			require.NoError(t, os.RemoveAll(dir))
			require.NoError(t, os.Rename(away, dir))
		}
	}
	for _, part := range []string{log, outbox} {
		mount := unmount(part)
		for range 2 { // as a look makes none
			last, err := recovery.Look(c)
			require.NoError(t, err)
			require.Equal(t, []string{part}, last.Lacks)
		}
		require.Equal(t, []string{part}, s.successor(1).restore(path, c.Node.DataDir).Merged[0].Lacks)
		mount()
	}

	start := func() string {
		var said bytes.Buffer
		n, err := node.Start(c.Node, node.Surroundings{Version: "test", Now: c.Now, Log: slog.New(slog.NewTextHandler(&said, nil)), AdminToken: func(string) error { return nil }})
		require.NoError(t, err)
		require.NoError(t, n.Close())
		return said.String()
	}
	require.NotContains(t, start(), "there is no outbox any more")
	unmount(outbox)
	require.Contains(t, start(), "there is no outbox any more")
	require.NoError(t, os.RemoveAll(filepath.Join(c.Node.DataDir, outbox)))
	require.Contains(t, start(), "there is no outbox any more")

	unmount(outbox)
	unmount(log)
	recovered, err := recovery.Recover(c)
	require.NoError(t, err)
	require.Equal(t, []string{log, outbox}, recovered.Had.Lacks)
	require.NotContains(t, start(), "there is no outbox any more")
	s.restart(0)
	s.ready(0)
	s.eventually(0, token, validate.Revoked)
}

// D6: a restore that was killed leaves a state that says not whose it is.
func TestInterruptedRestore(t *testing.T) {
	old := tell(t, 1)
	path, _ := old.backup(0)
	old.stop(0)
	s := old.successor(1)
	s.restore(path)
	c := s.config(0)
	require.NoError(t, os.Remove(filepath.Join(c.Node.DataDir, "identity.json")))
	c.Node.CertsDir = filepath.Join(old.dir, "certs")
	_, err := node.Start(c.Node, node.Surroundings{Version: "test", Now: c.Now, Log: c.Log, AdminToken: func(string) error { return nil }})
	require.ErrorContains(t, err, "was cut short")
}

// D6: nor does a node start in what a restore has left that was killed before the state was whole.
func TestRestoreInterruptedHalfway(t *testing.T) {
	old, _, path := oneRevoked(t)
	c, killed := old.successor(1).config(0), filepath.Join(t.TempDir(), "killed")
	file, err := os.ReadFile(path)
	require.NoError(t, err)
	half := &onFirstRead{Reader: bytes.NewReader(file[len(file)/2:]), do: func() { require.NoError(t, os.CopyFS(killed, os.DirFS(c.Node.DataDir))) }}
	_, err = recovery.Restore(t.Context(), c, io.MultiReader(bytes.NewReader(file[:len(file)/2]), half), nil)
	require.NoError(t, err)
	left, err := os.ReadDir(filepath.Join(c.Node.DataDir, node.StateDir))
	require.NoError(t, err)
	for _, e := range left {
		require.NotEqual(t, "part", e.Name())
	}
	c.Node.CertsDir, c.Node.DataDir = filepath.Join(old.dir, "certs"), killed
	_, err = node.Start(c.Node, node.Surroundings{Version: "test", Now: c.Now, Log: c.Log, AdminToken: func(string) error { return nil }})
	require.ErrorContains(t, err, "was cut short")
	_, err = recovery.Restore(t.Context(), c, bytes.NewReader(file), nil)
	require.ErrorContains(t, err, "not empty")
	require.NoError(t, os.RemoveAll(killed))
	_, err = recovery.Restore(t.Context(), c, bytes.NewReader(file), nil)
	require.NoError(t, err)
}

// D6: who restores into a directory into which another has meanwhile takes nothing of that away.
func TestTwoRestoresIntoOneDirectory(t *testing.T) {
	old, token, path := oneRevoked(t)
	s := old.successor(1)
	file, err := os.ReadFile(path)
	require.NoError(t, err)
	slow := &onFirstRead{Reader: bytes.NewReader(file), do: func() { s.restore(path) }}
	_, err = recovery.Restore(t.Context(), s.config(0), slow, nil)
	require.ErrorContains(t, err, "not empty")
	s.begin()
	s.eventually(0, token, validate.Revoked)
}

// D6: of those who restore into one directory at a time one has it, also when another has just cleared away what was its own.
func TestOneRestoreHasTheDirectory(t *testing.T) {
	c := recovery.Config{Node: node.Config{DataDir: t.TempDir()}}
	var claims atomic.Int32
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 5000 {
				if c.Claim() != nil {
					continue
				}
				claims.Add(1)
				if err := os.Remove(filepath.Join(c.Node.DataDir, node.StateDir)); err != nil {
					t.Errorf("two had the directory: %v", err)
					return
				}
			}
		})
	}
	all.Wait()
	require.Positive(t, claims.Load())
}

// onFirstRead does something before it is read.
type onFirstRead struct {
	io.Reader
	do func()
}

func (r *onFirstRead) Read(p []byte) (int, error) {
	if r.do != nil {
		r.do()
		r.do = nil
	}
	return r.Reader.Read(p)
}

// D7: whatever is written meanwhile, a backup has all that was done up to its revision and nothing of what came after.
func TestBackupUnderLoad(t *testing.T) {
	s := tell(t, 3)
	s.trustDemoIssuer()
	iss := s.cluster.Issuer().URL()
	var mu sync.Mutex
	history := map[string]record.Revision{}
	done := make(chan struct{})
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				value := fmt.Sprintf("w%d-%d", w, n)
				receipt, err := s.at(w%3).Revoke(s.ctx, client.RevokeRequest{Target: "jti", Issuer: iss, Value: value}, false, 10*time.Second)
				if err != nil {
					t.Error(err)
					return
				}
				if receipt.State == record.StatePending { // on a busy machine; its revision is not known
					continue
				}
				mu.Lock()
				history[value] = receipt.Revision
				mu.Unlock()
			}
		})
	}
	type taken struct {
		contents recovery.Contents
		held     map[string]record.Revision
	}
	var all []taken
	for i := range 12 {
		path, contents := s.backup(i % 3)
		all = append(all, taken{contents, revocationsIn(t, path)})
		mu.Lock()
		before := len(history)
		mu.Unlock()
		s.until("more is revoked", func() (string, bool) {
			mu.Lock()
			defer mu.Unlock()
			return "", len(history) > before+20
		})
	}
	close(done)
	writers.Wait()
	held := 0
	for i, b := range all {
		for value, at := range history {
			_, has := b.held[value]
			if want := at <= b.contents.Revision; has != want {
				t.Fatalf("backup %d of revision %d: %s, revoked at %d, is there: %v", i, b.contents.Revision, value, at, has)
			}
		}
		held = max(held, len(b.held))
	}
	require.Greater(t, held, 100)
}

// revocationsIn reads what a backup holds of the writers'.
func revocationsIn(t *testing.T, path string) map[string]record.Revision {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	b, err := backup.Open(f)
	require.NoError(t, err)
	held := map[string]record.Revision{}
	_, err = store.ReadStream(b, func(key, value []byte) error {
		if record.Table(key[0]) != record.TableRevocations {
			return nil
		}
		r, ok, err := record.StoredRevocation(key, value, func([]byte) ([]byte, bool, error) { return nil, false, nil })
		require.NoError(t, err)
		if ok && strings.HasPrefix(r.Value, "w") && !r.OfCanary() {
			held[r.Value] = r.Revision
		}
		return nil
	})
	require.NoError(t, err)
	require.NoError(t, b.Finish())
	return held
}
