package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"veto/test/ports"
	"veto/test/said"
	"veto/test/token"
)

// lone is one node that serves as verbosely as it can, and the secrets that were shown to it.
type lone struct {
	*cluster
	dir     string
	admin   string
	stderr  *said.Output
	secrets map[string]string
}

func startLone(t *testing.T) *lone {
	t.Helper()
	l := &lone{dir: t.TempDir(), stderr: &said.Output{}, secrets: map[string]string{}}
	l.cluster = &cluster{t: t, dir: l.dir, nodes: []*process{{port: ports.Take(t), out: &said.Output{}}}}
	pepper := make([]byte, 32)
	if _, err := rand.Read(pepper); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(l.dir, "pepper.key")
	if err := os.WriteFile(file, []byte(base64.StdEncoding.EncodeToString(pepper)), 0o600); err != nil {
		t.Fatal(err)
	}
	l.secrets["pepper key"], l.secrets["pepper key in base64"] = string(pepper), base64.StdEncoding.EncodeToString(pepper)
	p := l.nodes[0]
	p.cmd = exec.Command(program(t), "serve", "--node-id", "n1", "--data-dir", filepath.Join(l.dir, "data"), "--port", fmt.Sprint(p.port),
		"--pepper-key-file", file, "--log-level", "debug", "--pprof")
	p.cmd.Stdout, p.cmd.Stderr = p.out, l.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.kill(0, syscall.SIGKILL) })
	l.admin = l.await(regexp.MustCompile(`[a-z]+_op_\w+`))
	l.secrets["admin's key"] = l.admin
	l.ready(0)
	return l
}

// ask sends a request to the plane, and gives the answer; it may be any.
func (l *lone) ask(plane int, token, method, path, body string, headers ...string) (status int, answer string) {
	l.t.Helper()
	r, err := http.NewRequestWithContext(l.t.Context(), method, fmt.Sprintf("http://127.0.0.1:%d%s", l.nodes[0].port+plane, path), strings.NewReader(body))
	if err != nil {
		l.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		l.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		l.t.Fatal(err)
	}
	return response.StatusCode, string(b)
}

// made makes something by the control plane and gives the secret in the answer.
func (l *lone) made(method, path, body string) string {
	l.t.Helper()
	status, answer := l.ask(1, l.admin, method, path, body)
	var got struct{ Secret string }
	if err := json.Unmarshal([]byte(answer), &got); err != nil || status >= 300 {
		l.t.Fatalf("%s %s: %d %s", method, path, status, answer)
	}
	return got.Secret
}

// signed is a JWT by the key.
func signed(t *testing.T, key ed25519.PrivateKey, claims map[string]any) string {
	t.Helper()
	claims["iss"], claims["iat"], claims["exp"] = "https://corp.example", time.Now().Unix(), time.Now().Add(time.Hour).Unix()
	return token.Sign(t, key, "k1", "", claims)
}

// everyone has made all that has a secret.
func (l *lone) everyone() {
	l.t.Helper()
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		l.t.Fatal(err)
	}
	jwks := fmt.Sprintf(`{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": %q}]}`, base64.RawURLEncoding.EncodeToString(public))
	l.made("PUT", "/v1/issuers/corp", fmt.Sprintf(`{"issuer": "https://corp.example", "jwks": %s, "operators": {"audience": "veto", "claim": "groups", "roles": {"admins": ["admin"]}}}`, jwks))
	shared := "a secret that an issuer shares with nobody else"
	l.secrets["issuer's shared secret in base64"] = base64.RawURLEncoding.EncodeToString([]byte(shared))
	l.made("PUT", "/v1/issuers/inner", fmt.Sprintf(`{"issuer": "https://inner.example", "shared_secret": %q, "algorithms": ["HS256"]}`, l.secrets["issuer's shared secret in base64"]))
	l.made("PUT", "/v1/consumers/acme", `{"name": "N", "managers": [{"issuer": "corp", "subject": "alice"}]}`)
	l.secrets["consumer's key"] = l.made("POST", "/v1/keys", `{"consumer": "acme", "scopes": ["read"]}`)
	l.secrets["revoker's key"] = l.made("POST", "/v1/keys", `{"roles": ["revoker"]}`)
	l.secrets["portal session"] = l.made("POST", "/v1/consumers/acme/portal-sessions", `{}`)
	l.secrets["JWT"] = signed(l.t, key, map[string]any{"sub": "alice", "jti": "one"})
	l.secrets["operator's JWT"] = signed(l.t, key, map[string]any{"sub": "ann", "aud": "veto", "groups": "admins"})
}

// everywhere shows every secret wherever a request has room for it, rightly and wrongly.
func (l *lone) everywhere() {
	l.t.Helper()
	for name, s := range l.secrets {
		if name == "pepper key" {
			continue // no text
		}
		quoted := `"` + s + `"`
		for _, body := range []string{`{"credential": ` + quoted + `}`, `{"audience": ` + quoted + `}`, `{` + quoted + `: 1}`, quoted, s, `{"credential": ` + quoted, `{"credential": ` + quoted + `, "explain": true}`} {
			l.ask(0, "", "POST", "/v1/validate", body)
			l.ask(0, l.admin, "POST", "/v1/validate", body, "X-API-Key", s)
			l.ask(0, s, "POST", "/v1/validate/batch", `{"requests": [`+body+`]}`)
		}
		l.ask(0, s, "POST", "/v1/validate?x="+s, "")
		l.ask(0, "", "GET", "/"+s, "", "X-API-Key", s, "Veto-Min-Revision", s)
		for _, token := range []string{l.admin, s, s + "x", "x" + s} {
			l.ask(1, token, "GET", "/v1/keys/"+s, "")
			l.ask(1, token, "GET", "/v1/keys?cursor="+s+"&"+s+"="+s, "")
			l.ask(1, token, "GET", "/v1/cluster", "", "Cookie", s, "Referer", s, "User-Agent", s, "Origin", s)
			l.ask(1, token, "GET", "/v1/me", "")
			l.ask(1, token, "GET", "/"+s, "")
			l.ask(1, token, "POST", "/v1/me/keys", `{"name": 5, `+quoted+`: `+quoted+`}`)
			l.ask(1, token, "POST", "/v1/keys", `{"consumer": `+quoted+`, "environment": `+quoted+`}`, "If-Match", s)
			l.ask(1, token, "PUT", "/v1/issuers/"+s, `{"issuer": `+quoted)
			if !strings.Contains(name, "base64") { // which has no form that could be known
				l.ask(1, token, "POST", "/v1/revocations", `{"target": "subject", "issuer": "https://corp.example", "value": "x", "reason": `+quoted+`}`)
			}
			l.ask(1, token, "POST", "/v1/revocations/bulk", quoted+"\n"+s+"\n", "Content-Type", "application/x-ndjson")
			l.ask(1, token, "GET", "/v1/events?after="+s, "", "Last-Event-ID", s)
		}
		for port := range 5 {
			for _, text := range []string{
				"GET /" + s + " HTTP/1.1\r\n" + s + "\r\n\r\n", s + "\r\n\r\n", "CONNECT {\"auth_token\":" + quoted + "}\r\nPING\r\nPUB " + s + " 1\r\nx\r\n", "CONNECT " + s + "\r\n",
				"CONNECT {\"auth_token\":\"" + l.admin + "\",\"name\":" + quoted + "}\r\nSUB " + s + " 1\r\nPUB " + s + " 1\r\nx\r\nPING\r\n" + s + "\r\n",
			} {
				l.raw(port, text)
			}
		}
	}
	l.ask(1, l.secrets["revoker's key"], "POST", "/v1/revocations", `{"token": "`+l.secrets["JWT"]+`"}`)
	l.ask(1, l.secrets["revoker's key"], "POST", "/v1/keys/leaked", `[{"token": "`+l.secrets["consumer's key"]+`", "type": "t", "url": "https://x.example/`+l.secrets["consumer's key"]+`"}]`)
}

// raw says something on a port, which nobody there need understand, until the other side has answered or gone.
func (l *lone) raw(port int, text string) {
	l.t.Helper()
	c, err := new(net.Dialer).DialContext(l.t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", l.nodes[0].port+port))
	if err != nil {
		l.t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_, _ = io.WriteString(c, text) // it may be gone
	_ = c.(*net.TCPConn).CloseWrite()
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	_, _ = io.Copy(io.Discard, c)
}

// What a node is told in confidence is in none of the places where somebody else may look.
func TestSecretsAreNowhere(t *testing.T) {
	l := startLone(t)
	l.everyone()
	l.everywhere()
	places := map[string]string{"the log": l.stderr.String(), "its arguments": "", "its environment": ""}
	for name, file := range map[string]string{"its arguments": "cmdline", "its environment": "environ"} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", l.nodes[0].cmd.Process.Pid, file))
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) { // no Linux, or not root's to look at
			t.Error(err)
		}
		places[name] = string(b)
	}
	for _, path := range []string{
		"/metrics", "/v1/audit/export", "/v1/audit?limit=1000", "/v1/keys", "/v1/consumers", "/v1/issuers", "/v1/issuers/inner/keys", "/v1/revocations", "/v1/revocations/export", "/v1/cluster", "/v1/pepper",
		"/debug/pprof/cmdline", "/debug/pprof/goroutine?debug=2", "/debug/pprof/heap?debug=1", "/debug/pprof/allocs", "/debug/pprof/mutex?debug=1", "/debug/pprof/block?debug=1", "/debug/pprof/trace?seconds=0.01",
	} {
		status, answer := l.ask(1, l.admin, "GET", path, "")
		if status != http.StatusOK || answer == "" {
			t.Errorf("%s: %d %.100s", path, status, answer)
		}
		places[path] = answer
	}
	l.kill(0, syscall.SIGTERM) // so that all is written that is going to be
	places["the log"] = l.stderr.String()
	if !strings.Contains(places["the log"], "level=DEBUG") {
		t.Error("the log is not as verbose as it can be")
	}
	onDisk := files(t, filepath.Join(l.dir, "data"))
	for _, line := range strings.Split(places["the log"], "\n") {
		for name, s := range l.secrets {
			if holds([]byte(line), s) {
				t.Errorf("the log holds the %s: %s", name, line)
			}
		}
	}
	for name, s := range l.secrets {
		for place, text := range places {
			if holds([]byte(text), s) {
				t.Errorf("%s holds the %s", place, name)
			}
		}
		for path, content := range onDisk {
			// An issuer's secret must be there: by it tokens are verified (SECURITY.md).
			if holds(content, s) && !strings.HasPrefix(name, "issuer's shared secret") {
				t.Errorf("%s holds the %s", path, name)
			}
		}
	}
}

// holds tells whether the text has the secret, or the part of it that makes it one.
func holds(text []byte, secret string) bool {
	part := secret
	if strings.Count(secret, ".") == 2 {
		part = secret[strings.LastIndex(secret, ".")+1:] // of a JWT, what nobody else could have made
	}
	for _, form := range []string{part, hex.EncodeToString([]byte(part)), base64.StdEncoding.EncodeToString([]byte(part)), fmt.Sprint([]byte(part))} {
		if bytes.Contains(text, []byte(form)) {
			return true
		}
	}
	return false
}

// files are all that a directory has.
func files(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			all[path], err = os.ReadFile(path)
			if info, e := d.Info(); e == nil && info.Mode().Perm()&0o007 != 0 && strings.Contains(path, "-key.pem") {
				t.Errorf("%s has mode %s", path, info.Mode())
			}
		}
		return err
	})
	if err != nil || len(all) < 5 {
		t.Fatalf("%d files: %v", len(all), err)
	}
	return all
}
