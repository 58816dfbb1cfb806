package node

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"veto/client"
	"veto/node/certs"
	"veto/record"
	"veto/validate"
)

// regions are a voter and a replica in another region: all that is sent between them takes as
// long as it would on the way there.
type regions struct {
	*testing.T
	ctx       context.Context
	home, far *client.Client
}

func newRegions(t *testing.T, delay time.Duration) *regions {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	t.Cleanup(cancel)
	dir := t.TempDir()
	authority, err := certs.NewAuthority(filepath.Join(dir, "certs"), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	port := 10000 + os.Getpid()%200*10
	r, token := newRelay(t, delay), make(chan string, 1)
	bind := func(i int) string { return fmt.Sprintf("127.0.2.%d", 11+i) }
	told := func(i int) string { return fmt.Sprintf("127.0.3.%d", 11+i) }
	var nodes []*Node
	for i, region := range []string{"home", "far"} {
		if err := authority.Issue(filepath.Join(dir, "certs"), region, []string{bind(i)}, time.Now()); err != nil {
			t.Fatal(err)
		}
		for _, p := range []int{peerPort, gossipPort, routePort} {
			r.tcp(net.JoinHostPort(told(i), strconv.Itoa(port+p)), net.JoinHostPort(bind(i), strconv.Itoa(port+p)))
		}
		r.udp(net.JoinHostPort(told(i), strconv.Itoa(port+gossipPort)), net.JoinHostPort(bind(i), strconv.Itoa(port+gossipPort)))
		c := DefaultConfig()
		c.DataDir, c.NodeID, c.Region, c.Port = filepath.Join(dir, region), region, region, port
		c.Bind, c.Advertise, c.CertsDir, c.InsecureHTTP, c.MinRevisionWait = bind(i), told(i), filepath.Join(dir, "certs"), true, longestRevisionWait
		if i > 0 {
			c.Role, c.Join = string(record.NodeReplica), []string{told(0)}
		}
		n, err := Start(c, Surroundings{Version: "test", Now: time.Now, Log: slog.New(slog.DiscardHandler), AdminToken: func(s string) { token <- s }})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = n.Close() })
		nodes = append(nodes, n)
	}
	for _, n := range nodes {
		for !n.Ready() || n.broadcast.Stats().Routes < 1 {
			select {
			case <-ctx.Done():
				t.Fatal("the replica does not become ready")
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	x := &regions{T: t, ctx: ctx}
	secret := <-token
	for i, c := range []**client.Client{&x.home, &x.far} {
		*c = client.New(client.Options{
			Data: []string{fmt.Sprintf("http://%s:%d", bind(i), port)}, Control: []string{fmt.Sprintf("http://%s:%d", bind(i), port+controlPort)}, Token: secret,
		})
	}
	return x
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
	for _, c := range []*client.Client{x.home, x.far} {
		status, err := c.Cluster(x.ctx)
		if err != nil || len(status.Nodes) != 2 {
			t.Fatalf("%+v, %v", status, err)
		}
		if far := status.Nodes[0]; far.Region != "far" || far.Role != record.NodeReplica || far.LagMillis < delay.Milliseconds() {
			t.Errorf("%+v", far)
		}
	}
}
