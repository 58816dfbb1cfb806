package measure

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"veto/bench/side/machine"
	"veto/bench/side/peers"
	"veto/bench/side/tokens"
)

// system is something that answers whether a token may be used.
type system struct {
	name, title, about string
	address            string
	process            *machine.Process
	store              *machine.Stored // may be nil
	judges             bool
	// request makes the request for a token.
	request func(token string) string
	// allowed is what an answer has in it that allows; all have status 200, or 401 where they deny.
	allowed string
	// tokens are good ones, all different.
	tokens []string
	// revoke revokes by jti, or by the token where it is opaque.
	revoke func(ctx context.Context, name string) error
}

const askLimit = 5 * time.Second

// asks is whether it allows a token.
func (s *system) asks(ctx context.Context, token string) (bool, error) {
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(s.request(token))))
	if err != nil {
		return false, err
	}
	r.URL, r.RequestURI = &url.URL{Scheme: "http", Host: s.address, Path: r.URL.Path}, ""
	got, err := http.DefaultClient.Do(r.WithContext(ctx))
	if err != nil {
		return false, err
	}
	defer got.Body.Close()
	body := make([]byte, 4<<10)
	n, _ := got.Body.Read(body)
	if got.StatusCode != http.StatusOK && got.StatusCode != http.StatusUnauthorized {
		return false, fmt.Errorf("%s: status %d", s.name, got.StatusCode)
	}
	return got.StatusCode == http.StatusOK && strings.Contains(string(body[:n]), s.allowed), nil
}

func (s *system) spec(connections int, rate float64, duration time.Duration) Spec {
	requests := make([]string, len(s.tokens))
	for i, t := range s.tokens {
		requests[i] = s.request(t)
	}
	return Spec{Address: s.address, Requests: requests, Status: http.StatusOK, Within: s.allowed, Rate: rate, Connections: connections, Warmup: duration / 5, Duration: duration}
}

// bearer is a request with the token in its header, as all of them take it.
func bearer(token string) string {
	return "POST /v1/validate HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer " + token + "\r\nContent-Length: 0\r\n\r\n"
}

func introspect(own string) func(string) string {
	return func(token string) string {
		body := "token=" + url.QueryEscape(token)
		return fmt.Sprintf("POST /introspect HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer %s\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s", own, len(body), body)
	}
}

// PeerSpec is what the process of a peer is told.
type PeerSpec struct {
	Name, Listen, Ready string
	Config              peers.Config
}

// startPeer starts a peer in a process of its own and waits until it is ready.
func startPeer(ctx context.Context, m *machine.Machine, core machine.Core, host, name string, c peers.Config, denied []string) (*system, error) {
	p := peers.All()[name]
	if name == "opa" {
		c.Denied = denied
	}
	dir, err := m.Dir(name)
	if err != nil {
		return nil, err
	}
	s := &system{name: name, title: p.Title, about: p.About, judges: p.Judges, request: bearer, address: fmt.Sprintf("%s:%d", host, m.Ports(host))}
	spec := PeerSpec{Name: name, Listen: s.address, Ready: dir + "/ready", Config: c}
	b, err := json.Marshal(spec)
	if err == nil {
		err = os.WriteFile(dir+"/spec", b, 0o600)
	}
	if err != nil {
		return nil, err
	}
	if s.process, err = m.Start(name, core, m.Self, "peer", dir+"/spec"); err != nil {
		return nil, err
	}
	var own []string
	if err := s.process.Await(ctx, "ready", func() bool {
		b, err := os.ReadFile(spec.Ready)
		return err == nil && json.Unmarshal(b, &own) == nil
	}); err != nil {
		return nil, err
	}
	if p.Judges {
		s.allowed = `"allow"`
	}
	if p.Opaque {
		s.request, s.allowed, s.tokens = introspect(own[0]), `"active":true`, own[1:]
	}
	if p.Opaque || name == "opa" {
		s.revoke = func(ctx context.Context, name string) error {
			return post(ctx, "http://"+s.address+"/revoke?jti="+url.QueryEscape(name))
		}
	}
	return s, nil
}

func post(ctx context.Context, address string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, nil)
	if err != nil {
		return err
	}
	got, err := http.DefaultClient.Do(r)
	if err == nil {
		_ = got.Body.Close()
		if got.StatusCode != http.StatusOK {
			err = fmt.Errorf("status %d", got.StatusCode)
		}
	}
	return err
}

// RunPeer is the whole of a peer's process.
func RunPeer(ctx context.Context, file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var s PeerSpec
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	l, err := listen(ctx, s.Listen)
	if err != nil {
		return err
	}
	return peers.Serve(ctx, s.Name, s.Config, l, func(own []string) error {
		b, err := json.Marshal(own)
		if err != nil {
			return err
		}
		if err := os.WriteFile(s.Ready+".part", b, 0o600); err != nil {
			return err
		}
		return os.Rename(s.Ready+".part", s.Ready)
	})
}

// judged holds what a system says against what it must say: this is no measurement, and must be right.
func judged(ctx context.Context, s *system, maker, stranger *tokens.Maker, revoked int) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	cases, err := casesFor(s, maker, stranger, revoked)
	if err != nil {
		return nil, err
	}
	var said []string
	for _, c := range cases {
		got, err := s.asks(ctx, c.token)
		if err != nil {
			return nil, fmt.Errorf("%s, %s: %w", s.name, c.name, err)
		}
		if got != c.allow {
			return nil, fmt.Errorf("%s: %s: it says allow: %v", s.name, c.name, got)
		}
		said = append(said, c.name)
	}
	return said, nil
}

type judgement struct {
	name, token string
	allow       bool
}

func casesFor(s *system, maker, stranger *tokens.Maker, revoked int) ([]judgement, error) {
	good := s.tokens[0]
	if s.allowed == `"active":true` {
		last := len(s.tokens) - 1
		return []judgement{{"good", good, true}, {"revoked", s.tokens[last], false}, {"altered", altered(good), false}, {"nonsense", "x", false}}, nil
	}
	if strings.Count(good, ".") != 2 { // an API key
		return []judgement{{"good", good, true}, {"altered", altered(good), false}, {"nonsense", "x", false}}, nil
	}
	all := []judgement{
		{"good", good, true},
		{"altered", altered(good), false},
		{"nonsense", "x", false},
		{"unsigned", "eyJhbGciOiJub25lIn0." + strings.Split(good, ".")[1] + ".", false},
	}
	now := time.Now()
	for _, c := range []struct {
		name   string
		maker  *tokens.Maker
		n      int
		change tokens.Change
	}{
		{"revoked", maker, revoked, nil},
		{"expired", maker, 1, tokens.Change{"iat": now.Add(-time.Hour).Unix(), "exp": now.Add(-10 * time.Minute).Unix()}},
		{"for others", maker, 1, tokens.Change{"aud": []string{"https://other.example"}}},
		{"of another issuer", maker, 1, tokens.Change{"iss": "https://other.example"}},
		{"by another key", stranger, 1, nil},
	} {
		token, err := c.maker.Token(c.n, c.change)
		if err != nil {
			return nil, err
		}
		all = append(all, judgement{c.name, token, false})
	}
	return all, nil
}

// altered is a token of which one letter of the middle is another.
func altered(token string) string {
	b := []byte(token)
	at := len(b) / 2
	if b[at] == 'A' {
		b[at] = 'B'
	} else {
		b[at] = 'A'
	}
	return string(b)
}
