package node

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"veto/client"
	"veto/node/certs"
	"veto/record"
	"veto/record/trail"
	"veto/test/ports"
	"veto/validate"
)

// regions are a voter and a replica in another region: all that is sent between them takes as
// long as it would on the way there.
type regions struct {
	*testing.T
	ctx            context.Context
	port           int
	home, far      *client.Client
	voter, replica *Node
}

func newRegions(t *testing.T, delay time.Duration) *regions {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	dir := t.TempDir()
	authority, err := certs.NewAuthority(filepath.Join(dir, "certs"), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	port := ports.Take(t)
	r, token := newRelay(t, delay), make(chan string, 1)
	bind := func(i int) string { return fmt.Sprintf("127.0.2.%d", 11+i) }
	told := func(i int) string { return fmt.Sprintf("127.0.3.%d", 11+i) }
	var nodes []*Node
	for i, region := range []string{"home", "far"} {
		if err := authority.Issue(filepath.Join(dir, "certs"), region, []string{bind(i)}, time.Now()); err != nil {
			t.Fatal(err)
		}
		for _, p := range []int{peerPort, gossipPort} {
			r.tcp(net.JoinHostPort(told(i), strconv.Itoa(port+p)), net.JoinHostPort(bind(i), strconv.Itoa(port+p)))
		}
		r.udp(net.JoinHostPort(told(i), strconv.Itoa(port+gossipPort)), net.JoinHostPort(bind(i), strconv.Itoa(port+gossipPort)))
		c := DefaultConfig()
		c.DataDir, c.NodeID, c.Region, c.Port = filepath.Join(dir, region), region, region, port
		c.Bind, c.Advertise, c.CertsDir, c.InsecureHTTP, c.MinRevisionWait = bind(i), told(i), filepath.Join(dir, "certs"), true, longestRevisionWait
		c.CanaryInterval = 200 * time.Millisecond
		if i > 0 {
			c.Role, c.Join = string(record.NodeReplica), []string{told(0)}
		}
		n, err := Start(c, Surroundings{Version: "test", Now: time.Now, Log: slog.New(slog.DiscardHandler), AdminToken: func(s string) error { token <- s; return nil }})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = n.Close() })
		nodes = append(nodes, n)
	}
	for _, n := range nodes {
		for !n.Ready() || n.notices.Stats().Nodes < 1 {
			select {
			case <-ctx.Done():
				t.Fatal("the replica does not become ready")
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	x := &regions{T: t, ctx: ctx, port: port, voter: nodes[0], replica: nodes[1]}
	secret := <-token
	for i, c := range []**client.Client{&x.home, &x.far} {
		*c = client.New(client.Options{
			Data: []string{fmt.Sprintf("http://%s:%d", bind(i), port)}, Control: []string{fmt.Sprintf("http://%s:%d", bind(i), port+controlPort)}, Token: secret,
		})
	}
	return x
}

// newcomers are let in there at once if they hand on the revision at which they were.
func (x *regions) newcomers(t *testing.T, delay time.Duration) {
	t.Helper()
	asked := time.Now()
	session, err := x.home.OpenPortalSession(x.ctx, "shop", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	base := []string{fmt.Sprintf("http://127.0.2.12:%d", x.port+controlPort)}
	as := func(secret string) *client.Client { return client.New(client.Options{Control: base, Token: secret}) }
	if _, err := as(session.Secret).Me(x.ctx, ""); err == nil && time.Since(asked) < delay || err != nil && !strings.Contains(err.Error(), "(401") {
		t.Errorf("the session is there before the log can have come: %v", err)
	}
	if me, err := as(session.Secret).AtRevision(session.Revision).Me(x.ctx, ""); err != nil || me.Consumer != "shop" {
		t.Errorf("%+v %v", me, err)
	}
	auditor, err := x.home.CreateKey(x.ctx, client.KeyFields{Roles: []record.Role{record.RoleAuditor}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := as(auditor.Secret).AtRevision(auditor.Revision).Audit(x.ctx, client.List{}); err != nil {
		t.Error(err)
	}
}

// A replica in another region says the truth about its lag, in verdicts and in the status: its
// state is never as of later than what can have come to it. It waits for what a client has just
// changed at home, and a client that wants no such old answer gets none.
func TestReplicaInAnotherRegionSaysItsLag(t *testing.T) {
	const delay = 150 * time.Millisecond
	x := newRegions(t, delay)
	if _, err := x.home.PutConsumer(x.ctx, "shop", client.ConsumerFields{}); err != nil {
		t.Fatal(err)
	}
	key, err := x.home.CreateKey(x.ctx, client.KeyFields{Consumer: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	v, err := x.far.Validate(x.ctx, client.Question{Credential: key.Secret, MinRevision: key.Revision})
	if err != nil || v.Code != validate.OK || v.Revision < key.Revision {
		t.Errorf("a key that was just made: %+v, %v", v, err)
	}
	x.newcomers(t, delay)
	for range 40 {
		v, err := x.far.Validate(x.ctx, client.Question{Credential: key.Secret})
		if lag := time.Since(v.AsOf); err != nil || v.Code != validate.OK || lag < delay {
			t.Fatalf("%s says that it is %s behind, and nothing gets there in less than %s: %v", v.Code, lag, delay, err)
		}
		if v, err := x.far.Validate(x.ctx, client.Question{Credential: key.Secret, MaxStaleness: record.Duration(delay)}); err != nil || v.Code != validate.Stale {
			t.Fatalf("asked for a state younger than any that can be there: %+v, %v", v, err)
		}
		<-time.After(20 * time.Millisecond)
	}
	var joined []string
	for _, c := range []*client.Client{x.home, x.far} {
		// The time at which it joined is from Raft's log, and must be the same there.
		var nodes bytes.Buffer
		if err := c.ExportAudit(x.ctx, &nodes, trail.Filter{Action: "nodes"}); err != nil || !strings.Contains(nodes.String(), `"field":"role","to":"replica"}`) {
			t.Errorf("who joined: %s %v", nodes.String(), err)
		}
		_, entries, _ := strings.Cut(nodes.String(), "\n")
		joined = append(joined, entries)
		if _, err := c.VerifyAudit(x.ctx); err != nil {
			t.Error(err)
		}
		status, err := c.Cluster(x.ctx)
		if err != nil || len(status.Nodes) != 2 {
			t.Fatalf("%+v, %v", status, err)
		}
		if status.Nodes[0].Audit == record.AuditDiffers || status.Nodes[1].Audit == record.AuditDiffers {
			t.Errorf("%+v", status)
		}
		if far := status.Nodes[0]; far.Region != "far" || far.Role != record.NodeReplica || far.LagMillis < delay.Milliseconds() {
			t.Errorf("%+v", far)
		}
	}
	if joined[0] != joined[1] {
		t.Errorf("two trails: %v", joined)
	}
}

// What the canary measures of a node far away is its way there and the word's way back: to ask
// adds nothing. When the node leaves for good, what was said of it goes with it.
func TestCanaryMeasuresOneWayThereAndBack(t *testing.T) {
	const delay = 150 * time.Millisecond
	x := newRegions(t, delay)
	far := func() *record.Propagation {
		status, err := x.home.Cluster(x.ctx)
		for _, n := range status.Nodes {
			if n.ID == "far" {
				return n.Propagation
			}
		}
		if x.ctx.Err() != nil {
			t.Fatal(err)
		}
		return nil
	}
	p := far()
	for ; p == nil || p.Samples < 10; p = far() { // the first ones had to connect
		<-time.After(20 * time.Millisecond)
	}
	if least := float64(2 * delay.Milliseconds()); p.P50Millis < least || p.Failed > 0 {
		t.Errorf("%+v, and there and back takes %s", p, 2*delay)
	}
	nobody := record.Name{Target: record.TargetJTI, Issuer: record.CanaryIssuer, Value: "nobody"}
	if x.voter.replica.Denies(x.ctx, "far", record.Accepted{Revision: 1}, nobody) == nil {
		t.Error("a node is believed to deny what it does not")
	}
	if shown := x.metrics(); !strings.Contains(shown, `veto_propagation_seconds_count{node="far",region="far"}`) || !strings.Contains(shown, `veto_propagation_failures_total{node="far",region="far"} 0`) {
		t.Error("the metrics do not show it")
	}
	if err := x.replica.Leave(x.ctx); err != nil {
		t.Fatal(err)
	}
	for strings.Contains(x.metrics(), `node="far"`) {
		select {
		case <-x.ctx.Done():
			t.Fatal("a node that left is still in the metrics")
		case <-time.After(20 * time.Millisecond):
		}
	}
	if p := far(); p != nil {
		t.Errorf("%+v", p)
	}
}

func (x *regions) metrics() string {
	x.Helper()
	w := httptest.NewRecorder()
	x.voter.metrics.handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Body.String()
}
