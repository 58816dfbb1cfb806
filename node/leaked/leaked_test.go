package leaked_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"veto/node/httpapi/leaks"
	"veto/node/leaked"
	"veto/record"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// state is what there is, and what was done to it.
type state struct {
	keys      map[string]record.APIKey // by their secrets
	sessions  map[record.KeyHash]record.PortalSession
	revoked   map[record.Digest]record.Revocation
	lastAdmin string
	down      string // a key that cannot be revoked now
	commands  []record.Command
}

var (
	digestKey = record.DigestKey{1}
	errDown   = errors.New("down")
)

func (s *state) Propose(_ context.Context, c record.Command) (record.Result, error) {
	s.commands = append(s.commands, c)
	return record.Result{}, nil
}

func (s *state) Revoke(_ context.Context, t record.Taken, _ time.Duration) (record.Accepted, error) {
	switch t.Revocation.Value {
	case s.lastAdmin:
		return record.Accepted{}, record.Conflict("this is the last admin's key")
	case s.down:
		return record.Accepted{}, errDown
	}
	s.revoked[digestKey.Digest(t.Revocation.Name)] = t.Revocation
	s.commands = append(s.commands, record.Command{By: t.By, Body: record.Revoke{Revocations: []record.Revocation{t.Revocation}}})
	return record.Accepted{}, nil
}

func (s *state) SessionBySecret(sum record.KeyHash) (record.PortalSession, bool, error) {
	one, ok := s.sessions[sum]
	return one, ok, nil
}

func (s *state) RevocationID(n record.Name) string { return digestKey.Digest(n).RevocationID() }

func (s *state) Revocation(d record.Digest) (record.Standing, bool, error) {
	r, ok := s.revoked[d]
	return record.Standing{Revocation: r}, ok, nil
}

func opened() *state {
	s := &state{
		keys: map[string]record.APIKey{}, sessions: map[record.KeyHash]record.PortalSession{}, revoked: map[record.Digest]record.Revocation{},
	}
	for secret, k := range map[string]record.APIKey{"shop's": {ID: "key_shop", Consumer: "shop"}, "till's": {ID: "key_till", Consumer: "till"}, "admin's": {ID: "key_admin", Roles: []record.Role{record.RoleAdmin}}} {
		s.keys[secret] = k
	}
	s.sessions[sha256.Sum256([]byte("portal's"))] = record.PortalSession{ID: "ses_1", Consumer: "shop", ExpiresAt: now.Add(time.Hour)}
	s.sessions[sha256.Sum256([]byte("ended's"))] = record.PortalSession{ID: "ses_2", Consumer: "shop", ExpiresAt: now}
	return s
}

// report gives what is said of each secret, as known or not, and what was done.
func (s *state) report(t *testing.T, mark bool, by leaked.Reporter, secrets ...string) (said []string, err error) {
	t.Helper()
	d := leaked.New(leaked.Config{
		Changer: s, Records: s, Mark: mark, Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler),
		FindKey: func(secret string) (*record.APIKey, bool, bool) { k, ok := s.keys[secret]; return &k, false, ok },
	})
	var found []leaks.Found
	for _, secret := range secrets {
		found = append(found, leaks.Found{Token: secret, Type: "t", URL: "https://example.com/" + secret})
	}
	all, err := d.Take(t.Context(), by, found)
	for _, o := range all {
		said = append(said, fmt.Sprint(o.Known, " ", o.Done))
	}
	if strings.Contains(fmt.Sprint(s.commands), "https://") {
		t.Error("an address that holds the secret was kept")
	}
	return said, err
}

// K1
func TestWhatIsDone(t *testing.T) {
	secrets := []string{"shop's", "portal's", "nobody's", "ended's", "shop's"}
	for mark, want := range map[bool][]string{
		false: {"true revoked", "true ended", "false ", "true ", "true revoked"},
		true:  {"true marked", "true ended", "false ", "true ", "true marked"},
	} {
		s := opened()
		if said, err := s.report(t, mark, leaked.Reporter{}, secrets...); err != nil || !slices.Equal(said, want) {
			t.Errorf("%q %v", said, err)
		}
		if len(s.commands) != 2 || s.commands[0].By != record.LeakGitHub || s.commands[1].Body != (record.EndSession{Consumer: "shop", ID: "ses_1"}) {
			t.Errorf("%+v", s.commands)
		}
	}
}

// K1: whoever finds the last admin's key can use it, but cannot lock the operators out by telling of it; and they learn of it.
func TestLastAdminIsMarked(t *testing.T) {
	s := opened()
	s.lastAdmin = "key_admin"
	said, err := s.report(t, false, leaked.Reporter{}, "admin's", "till's")
	if err != nil || !slices.Equal(said, []string{"true marked", "true revoked"}) {
		t.Errorf("%q %v", said, err)
	}
	if b, ok := s.commands[1].Body.(record.MarkLeaked); !ok || len(b.Keys) != 1 || b.Keys[0].ID != "key_admin" {
		t.Errorf("%+v", s.commands)
	}
}

// K2
func TestBoundReporters(t *testing.T) {
	s := opened()
	by := leaked.Reporter{Key: &record.APIKey{ID: "key_b", Roles: []record.Role{record.RoleRevoker}, Consumers: []string{"till"}}}
	said, err := s.report(t, false, by, "shop's", "portal's", "ended's", "till's")
	if err != nil || !slices.Equal(said, []string{"false ", "false ", "false ", "true revoked"}) || len(s.commands) != 1 {
		t.Errorf("%q %v %+v", said, err, s.commands)
	}
}

// K3
func TestReportAgain(t *testing.T) {
	s := opened()
	s.down = "key_shop"
	if _, err := s.report(t, false, leaked.Reporter{}, "shop's", "till's", "portal's"); !errors.Is(err, errDown) || len(s.commands) != 2 {
		t.Errorf("%v, and the others were left: %+v", err, s.commands)
	}
	delete(s.sessions, sha256.Sum256([]byte("portal's")))
	s.down = ""
	for range 2 {
		said, err := s.report(t, false, leaked.Reporter{}, "shop's", "till's", "portal's")
		if err != nil || !slices.Equal(said, []string{"true revoked", "true revoked", "false "}) || len(s.commands) != 3 {
			t.Errorf("%q %v %+v", said, err, s.commands)
		}
	}
}
