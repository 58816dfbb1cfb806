package control_test

import (
	"context"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"veto/node/httpapi/control"
	"veto/node/httpapi/gate"
	"veto/record"
	"veto/record/trail"
	"veto/test/token"
)

// crowded is a turn for a control plane whose node is asked all the time.
func crowded(t *testing.T) *gate.Turns {
	t.Helper()
	var took, passed atomic.Int64
	turns, err := gate.NewTurns(gate.TurnsConfig{
		Most: 1, Took: func() time.Duration { return time.Duration(took.Add(int64(time.Hour))) }, Processors: 1, Calm: time.Hour, Slice: time.Hour,
		Echo: func() (io.ReadCloser, io.WriteCloser, error) { return os.Pipe() },
		Now:  func() time.Time { return time.Unix(1000, passed.Add(int64(20*time.Millisecond))) }, After: func(time.Duration) <-chan time.Time { return time.After(0) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = turns.Close() })
	return turns
}

// stalled is a control plane of which somebody has the only turn.
func stalled(t *testing.T) (p *plane, turns *gate.Turns, held *gate.Turn) {
	t.Helper()
	turns = crowded(t)
	held = turns.Turn(gate.Work{})
	if err := held.Take(t.Context()); err != nil {
		t.Fatal(err)
	}
	return open(t, func(c *control.Config) { c.Turns = turns }), turns, held
}

// observed says of each call whether it is made in the turn.
type observed struct {
	*cluster
	turns           *gate.Turns
	patience        time.Duration // after which a turn does not come any more
	inTurn, without []string
}

func (o *observed) see(call string) {
	turn := o.turns.Turn(gate.Work{Prompt: true})
	within, cancel := context.WithTimeout(context.Background(), o.patience)
	defer cancel()
	if turn.Take(within) != nil {
		o.inTurn = append(o.inTurn, call)
		return
	}
	turn.Leave()
	o.without = append(o.without, call)
}

func (o *observed) Propose(ctx context.Context, c record.Command) (record.Result, error) {
	o.see("propose " + c.Body.Kind().String())
	return o.cluster.Propose(ctx, c)
}

func (o *observed) Revoke(ctx context.Context, t record.Taken, wait time.Duration) (record.Accepted, error) {
	o.see("revoke")
	return o.cluster.Revoke(ctx, t, wait)
}

func (o *observed) Status(ctx context.Context) record.ClusterStatus {
	o.see("status")
	return o.cluster.Status(ctx)
}

func (o *observed) ChangeMember(ctx context.Context, m record.MemberChange) (record.MemberChanged, error) {
	o.see("member")
	return o.cluster.ChangeMember(ctx, m)
}

func (o *observed) EnforcedOn(ctx context.Context, a record.Accepted, all bool) (on, pending []string) {
	o.see("enforced")
	return o.cluster.EnforcedOn(ctx, a, all)
}

func (o *observed) Rotate(ctx context.Context, c record.Command) (record.Result, error) {
	o.see("rotate")
	return peppers{o.cluster}.Rotate(ctx, c)
}

func (o *observed) AwaitRevision(ctx context.Context, r record.Revision) error {
	o.see("await revision")
	return context.DeadlineExceeded
}

func (o *observed) Stands(ctx context.Context, r record.Revocation, a record.Accepted) (record.Revocation, bool, error) {
	o.see("stands")
	return o.cluster.Stands(ctx, r, a)
}

func (o *observed) Revocation(d record.Digest) (record.Standing, bool, error) {
	o.see("revocation")
	return o.cluster.Revocation(d)
}

func (o *observed) Keys(q record.KeyQuery, now time.Time, after string, limit int) ([]record.APIKey, string, error) {
	o.see("keys")
	return o.cluster.Keys(q, now, after, limit)
}

func (o *observed) EveryRevocation(cursor string, limit int) ([]record.Revocation, string, error) {
	o.see("every revocation")
	return o.cluster.EveryRevocation(cursor, limit)
}

func (o *observed) Audit(after trail.Entry, limit int) ([]trail.Entry, error) {
	o.see("audit")
	return o.cluster.Audit(after, limit)
}

type rotating struct {
	peppers
	*observed
}

func (r rotating) Status() record.PepperStatus { return r.peppers.Status() }

func (r rotating) Rotate(ctx context.Context, c record.Command) (record.Result, error) {
	return r.observed.Rotate(ctx, c)
}

// L15
func TestWhatBlocksIsOutOfTurn(t *testing.T) {
	o := &observed{turns: crowded(t)}
	p := open(t, func(c *control.Config) {
		o.cluster = c.Cluster.(*cluster)
		c.Turns, c.Proposer, c.Cluster, c.Records, c.Peppers = o.turns, o, o, o, rotating{peppers{o.cluster}, o}
		c.FindKey = func(string) (*record.APIKey, bool, bool) { o.see("find key"); return nil, false, false }
		c.Refresh = func(context.Context, record.Issuer) error { o.see("refresh"); return nil }
		c.Backup = func(_ context.Context, w io.Writer) error {
			_, err := io.WriteString(w, "all")
			o.see("backup")
			return err
		}
	})
	s := newSigner(t)
	revocation := `{"target":"jti","issuer":"i","value":"a"}`
	id := (&cluster{}).RevocationID(record.Name{Target: record.TargetJTI, Issuer: "i", Value: "a"})
	claims := map[string]any{"iss": s.iss, "sub": "x", "jti": "j", "iat": now().Unix(), "exp": now().Add(time.Hour).Unix()}
	ofAnotherKey := fmt.Sprintf(`{"token": %q}`, token.Sign(t, s.key, "another", "JWT", claims))
	for _, c := range []struct {
		role                       record.Role
		method, path, body         string
		header                     []string
		wantInTurn, wantOutOfTurns string
	}{
		{record.RoleAdmin, "PUT", "/v1/issuers/demo", fmt.Sprintf(`{"issuer": %q, "jwks": %s}`, s.iss, s.jwks(t)), nil, "[]", "[propose put_issuer]"},
		{record.RoleAdmin, "POST", "/v1/issuers/demo/refresh", "", nil, "[]", "[refresh]"},
		{record.RoleRevoker, "POST", "/v1/revocations", revocation, nil, "[]", "[revoke stands enforced]"},
		{record.RoleRevoker, "POST", "/v1/revocations", ofAnotherKey, nil, "[]", "[await revision]"},
		{record.RoleAuditor, "GET", "/v1/revocations/" + id, "", nil, "[]", "[revocation enforced]"},
		{record.RoleRevoker, "POST", "/v1/keys/leaked", `[{"token": "x", "type": "t"}]`, nil, "[find key]", "[]"},
		{record.RoleAdmin, "GET", "/v1/cluster", "", nil, "[]", "[status]"},
		{record.RoleAdmin, "POST", "/v1/cluster/nodes/n2/promote", "", nil, "[]", "[member]"},
		{record.RoleAdmin, "POST", "/v1/pepper/rotate", "", nil, "[]", "[rotate]"},
		{record.RoleAuditor, "GET", "/v1/keys", "", nil, "[keys]", "[]"},
		{record.RoleAuditor, "GET", "/v1/revocations/export", "", nil, "[every revocation]", "[]"},
		{record.RoleAuditor, "GET", "/v1/audit/export", "", nil, "[audit]", "[]"},
		{record.RoleAdmin, "GET", "/v1/backup", "", nil, "[backup]", "[]"},
		{record.RoleRevoker, "POST", "/v1/revocations/bulk", revocation, []string{"Content-Type", ndjson}, "[]", "[propose import]"},
	} {
		if o.inTurn, o.without, o.patience = nil, nil, time.Minute; c.wantInTurn != "[]" { // it would wait all of it
			o.patience = 20 * time.Millisecond
		}
		w := p.as(c.role, c.method, c.path, c.body, c.header...)
		if in, out := fmt.Sprint(o.inTurn), fmt.Sprint(o.without); w.Code == 503 || in != c.wantInTurn || out != c.wantOutOfTurns {
			t.Errorf("%s %s: %d %s; in turn %s, out of turn %s", c.method, c.path, w.Code, w.Body, in, out)
		}
	}
	if !o.turns.Turn(gate.Work{}).TakeWithin(t.Context(), time.Minute) {
		t.Error("somebody did not leave a turn")
	}
}

// L15
func TestWhatATurnIsFor(t *testing.T) {
	change, read := gate.Work{Prompt: true, Writes: true}, gate.Work{}
	for route, want := range map[string]gate.Work{
		"GET /v1/keys": read, "HEAD /v1/keys": read, "GET /v1/revocations/export": read, "GET /metrics": {Prompt: true},
		"POST /v1/keys": change, "PUT /v1/issuers/demo": change, "PATCH /v1/keys/a": change, "DELETE /v1/keys/a": change,
	} {
		method, path, _ := strings.Cut(route, " ")
		if got := control.WorkOf(httptest.NewRequestWithContext(t.Context(), method, path, nil)); got != want {
			t.Errorf("%s: %+v", route, got)
		}
	}
}

// L15
func TestOperatorsWaitBehindThemselves(t *testing.T) {
	p, turns, held := stalled(t)
	list := func(ctx context.Context, as record.Role) int {
		r, w := httptest.NewRequestWithContext(ctx, "GET", "/v1/keys", nil), httptest.NewRecorder()
		r.Header.Set("Authorization", "Bearer "+p.secrets[as])
		p.handler.ServeHTTP(w, r)
		return w.Code
	}
	const more = 5
	answered := make(chan int, 64+more)
	for range cap(answered) {
		go func() { answered <- list(t.Context(), record.RoleAdmin) }()
	}
	for range more { // while the others wait
		if code := <-answered; code != 503 {
			t.Errorf("%d", code)
		}
	}
	moment, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if list(moment, record.RoleAuditor); turns.Refused() != more {
		t.Errorf("%d refused: another operator did not wait", turns.Refused())
	}
	held.Leave()
	for range 64 {
		if code := <-answered; code != 200 {
			t.Errorf("who waited: %d", code)
		}
	}
}

// L15
func TestTurnThatDoesNotCome(t *testing.T) {
	p, _, held := stalled(t)
	ask := func(method, path string, patience time.Duration) *httptest.ResponseRecorder {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		r, w := httptest.NewRequestWithContext(ctx, method, path, nil), httptest.NewRecorder()
		r.Header.Set("Authorization", "Bearer "+p.secrets[record.RoleAdmin])
		p.handler.ServeHTTP(w, r)
		return w
	}
	changes := p.cluster.changes()
	for _, c := range []struct{ method, path string }{{"GET", "/v1/keys"}, {"DELETE", "/v1/issuers/demo"}, {"GET", "/metrics"}} {
		w := ask(c.method, c.path, 10*time.Millisecond)
		p.problem(w, 503, "busy")
		if w.Header().Get("Retry-After") == "" {
			t.Errorf("%s: %v says not when to come again", c.path, w.Header())
		}
	}
	if p.cluster.changes() != changes {
		t.Error("something was changed by who was refused")
	}
	for _, path := range control.Always {
		if w := ask("GET", path, time.Minute); w.Code != 200 {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	held.Leave()
	if w := ask("GET", "/metrics", time.Minute); w.Code != 200 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
