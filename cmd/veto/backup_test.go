package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"filippo.io/age"
	"github.com/rogpeppe/go-internal/testscript"

	"veto/replication/backup"
)

// identity makes an age identity in a file, and its recipient a variable.
func identity(ts *testscript.TestScript, _ bool, args []string) {
	id, err := age.GenerateX25519Identity()
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte("# made by a test\n"+id.String()+"\n"), 0o600))
	ts.Setenv(args[1], id.Recipient().String())
}

// damage makes another file of one: cut to so many hundredths of it, or with a byte changed there.
func damage(ts *testscript.TestScript, _ bool, args []string) {
	b := []byte(ts.ReadFile(args[0]))
	hundredths, err := strconv.Atoi(args[3])
	ts.Check(err)
	at := len(b) * hundredths / 100
	switch args[2] {
	case "cut":
		b = b[:at]
	case "change":
		b[at] ^= 0x20
	case "extend":
		b = append(b, 0)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), b, 0o600))
}

// A backup that the node, or something between, cuts off is no backup, and leaves no file.
func TestBackupIsCutOff(t *testing.T) {
	var whole bytes.Buffer
	if err := backup.Write(&whole, backup.Header{ClusterID: "c"}, bytes.NewReader(make([]byte, 100_000))); err != nil {
		t.Fatal(err)
	}
	for name, end := range map[string]func(){"in order": func() {}, "in the middle": func() { panic(http.ErrAbortHandler) }} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/octet-stream")
			_, _ = w.Write(whole.Bytes()[:80_000])
			_ = http.NewResponseController(w).Flush()
			end()
		}))
		dir := t.TempDir()
		out, code := execute(t, []string{"VETO_TOKEN=x", "VETO_ADDRESS=" + server.URL}, "", "backup", "--out", filepath.Join(dir, "b"), "--plain")
		server.Close()
		left, err := os.ReadDir(dir)
		if code != exitError || !strings.Contains(out, "not whole: it ends before its end, so it was cut off") || err != nil || len(left) != 0 {
			t.Errorf("%s: %d %s, left %v", name, code, out, left)
		}
	}
}

// A backup that is stopped takes away its part, and one that is killed leaves it to the next to the same file, which takes
// nothing away from one that is being written.
func TestBackupIsStopped(t *testing.T) {
	var whole bytes.Buffer
	if err := backup.Write(&whole, backup.Header{ClusterID: "c"}, bytes.NewReader(make([]byte, 100_000))); err != nil {
		t.Fatal(err)
	}
	halfway := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = w.Write(whole.Bytes()[:80_000])
		_ = http.NewResponseController(w).Flush()
		select {
		case halfway <- struct{}{}:
		case <-r.Context().Done():
		}
		<-r.Context().Done()
	}))
	defer server.Close()
	env := []string{"VETO_TOKEN=x", "VETO_ADDRESS=" + server.URL}
	dir := t.TempDir()
	begin := func() *exec.Cmd {
		c := exec.CommandContext(t.Context(), program(t), "backup", "--out", filepath.Join(dir, "b"), "--plain")
		c.Env = append(os.Environ(), env...)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		<-halfway
		for { // until it has written what came
			info, err := os.Stat(filepath.Join(dir, "b.part"))
			if err == nil && info.Size() > 0 {
				if info.Mode() != 0o600 {
					t.Errorf("others may open it: %v", info.Mode())
				}
				return c
			}
			if t.Context().Err() != nil {
				t.Fatal(err)
			}
			runtime.Gosched()
		}
	}
	end := func(c *exec.Cmd, s syscall.Signal) {
		if err := c.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
		_ = c.Wait()
	}
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		c := begin()
		if end(c, s); c.ProcessState.ExitCode() != exitError || len(namesIn(t, dir)) != 0 {
			t.Errorf("%v: %v, left %v", s, c.ProcessState, namesIn(t, dir))
		}
	}
	end(begin(), syscall.SIGKILL)
	if got := namesIn(t, dir); !slices.Equal(got, []string{"b.part"}) {
		t.Fatal(got)
	}
	// Over what was left, beside one that is written.
	under := begin()
	out, code := execute(t, env, "", "backup", "--out", filepath.Join(dir, "b"), "--plain")
	if code != exitError || !strings.Contains(out, "another backup is being written to") {
		t.Errorf("%d %s", code, out)
	}
	if end(under, syscall.SIGTERM); len(namesIn(t, dir)) != 0 {
		t.Error(namesIn(t, dir))
	}
}

func namesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	there, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range there {
		names = append(names, e.Name())
	}
	return names
}

// Two of three are killed for good, then the third as well: it goes on alone with all that had a receipt, and the
// others, which come back with what they had, are not heard.
func TestQuorumIsLostForGood(t *testing.T) {
	c := startCluster(t)
	c.veto(0, "", "consumers", "put", "shop")
	var ids, secrets []string
	for range 5 {
		var k struct{ ID, Secret string }
		if err := json.Unmarshal([]byte(c.veto(0, "", "keys", "create", "--consumer", "shop")), &k); err != nil {
			t.Fatal(err)
		}
		ids, secrets = append(ids, k.ID), append(secrets, k.Secret)
	}
	for i := range c.nodes {
		c.says(i, secrets[4], "ok", exitOK)
	}
	c.veto(1, "", "revoke", "key", ids[0], "--wait", "enforced")
	c.veto(2, "", "revoke", "key", ids[1], "--wait", "enforced")
	c.reached(0, c.revision(2))
	c.kill(1, syscall.SIGKILL)
	c.kill(2, syscall.SIGKILL)
	if out := c.veto(0, "", "revoke", "key", ids[2]); !strings.Contains(out, `"state": "pending"`) {
		t.Fatal(out)
	}
	c.kill(0, syscall.SIGKILL)

	settings := []string{"--node-id", "n1", "--data-dir", filepath.Join(c.dir, "n1"), "--certs-dir", filepath.Join(c.dir, "certs"), "--port", fmt.Sprint(c.nodes[0].port)}
	out, code := execute(t, nil, "", append([]string{"cluster", "recover"}, settings...)...)
	if code != exitError || !strings.Contains(out, "nothing was changed") || !strings.Contains(out, "n3 (voter") {
		t.Fatalf("%d %s", code, out)
	}
	out, code = execute(t, nil, "", append([]string{"cluster", "recover", "--yes"}, settings...)...)
	if code != exitOK || !strings.Contains(out, "Start this node") {
		t.Fatalf("%d %s", code, out)
	}
	c.start(0)
	c.ready(0)
	denied := func(i int) {
		t.Helper()
		for _, n := range []int{0, 1, 2} {
			c.says(i, secrets[n], "revoked", exitDeny)
		}
		c.says(i, secrets[4], "ok", exitOK)
	}
	denied(0)
	c.start(1)
	c.start(2)
	c.ready(1)
	c.ready(2)
	c.veto(1, "", "revoke", "key", ids[4]) // in the cluster that was
	c.says(2, secrets[4], "revoked", exitDeny)
	denied(0)
	if out := c.veto(0, "", "cluster"); strings.Contains(out, `"n2"`) || !strings.Contains(out, `"leader": "n1"`) {
		t.Error(out)
	}
	c.kill(1, syscall.SIGKILL)
	c.kill(2, syscall.SIGKILL)
	for _, i := range []int{1, 2} {
		if err := os.RemoveAll(filepath.Join(c.dir, fmt.Sprintf("n%d", i+1))); err != nil {
			t.Fatal(err)
		}
		c.start(i)
		c.ready(i)
		denied(i)
	}
	c.veto(2, "", "revoke", "key", ids[3])
	c.says(0, secrets[3], "revoked", exitDeny)
	if out, code := execute(t, c.env, "", "audit", "verify", "--address", fmt.Sprintf("http://127.0.0.1:%d", c.nodes[2].port+1)); code != exitOK {
		t.Error(out)
	}
}

// revision is what the node has applied.
func (c *cluster) revision(i int) uint64 {
	c.t.Helper()
	var s struct{ Revision uint64 }
	if err := json.Unmarshal([]byte(c.veto(i, "", "cluster")), &s); err != nil {
		c.t.Fatal(err)
	}
	return s.Revision
}

// reached waits until the node has applied the revision.
func (c *cluster) reached(i int, revision uint64) {
	c.t.Helper()
	c.until(fmt.Sprintf("n%d has revision %d", i+1, revision), func() bool { return c.revision(i) >= revision })
}

// A file that came while a backup was written is not overwritten.
// Of several that begin at once where one was killed, whoever has the file keeps it.
func TestPartOfABackupIsOnesOwn(t *testing.T) {
	for range 1000 {
		path := filepath.Join(t.TempDir(), "b")
		if err := os.WriteFile(path+".part", []byte("left"), 0o600); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		files := make([]*os.File, 4)
		for i := range files {
			all.Go(func() { files[i], _ = partOf(path) }) // others have it
		}
		all.Wait()
		for _, f := range files {
			if f == nil {
				continue
			}
			if err := lockAt(f, path+".part"); err != nil {
				t.Fatal(err)
			}
			_ = f.Close()
		}
	}
}

// What somebody else has put in the place of the part is not removed.
func TestPartIsReplacedMeanwhile(t *testing.T) {
	var whole bytes.Buffer
	if err := backup.Write(&whole, backup.Header{ClusterID: "c"}, bytes.NewReader(make([]byte, 100_000))); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	part := filepath.Join(dir, "b.part")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err := errors.Join(os.Remove(part), os.WriteFile(part, []byte("another's"), 0o600)); err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = w.Write(whole.Bytes())
	}))
	defer server.Close()
	out, code := execute(t, []string{"VETO_TOKEN=x", "VETO_ADDRESS=" + server.URL}, "", "backup", "--out", filepath.Join(dir, "b"), "--plain")
	if left := namesIn(t, dir); code != exitError || !slices.Equal(left, []string{"b.part"}) {
		t.Errorf("%d %s, left %v", code, out, left)
	}
}

func TestBackupOverwritesNothing(t *testing.T) {
	dir := t.TempDir()
	written, path := filepath.Join(dir, "written"), filepath.Join(dir, "path")
	for _, name := range []string{written, path} {
		if err := os.WriteFile(name, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := appear(written, path); !os.IsExist(err) {
		t.Errorf("%v", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != path {
		t.Errorf("%s %v", b, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := appear(written, path); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != written {
		t.Errorf("%s %v", b, err)
	}
	if _, err := os.Stat(written); !os.IsNotExist(err) {
		t.Errorf("%v", err)
	}
}
