package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"veto/client"
	"veto/record"
	"veto/validate"
)

const strict = time.Second // max_staleness of the nodes, and of questions to those that serve stale

// at is a client of one node only.
func (c *cluster) at(i int) *client.Client {
	url := func(port int) []string { return []string{fmt.Sprintf("http://127.0.0.1:%d", c.nodes[i].port+port)} }
	return client.New(client.Options{Data: url(0), Control: url(1), Token: c.env[0][len("VETO_TOKEN="):]})
}

// A leader that has lost all other voters at one blow, and still reaches its replicas, does not
// pass for fresh, and neither do they: nothing that any of them answers says that it is as of later
// than the blow. Both policies, and in the end the truth about the lag.
func TestLeaderCutOffFromItsVoters(t *testing.T) {
	c := startCluster(t, "--max-staleness", strict.String())
	follows := c.add(c.nodes[2].port+10, "--role", "replica", "--region", "far", "--max-staleness", strict.String())
	serves := c.add(c.nodes[2].port+20, "--role", "replica", "--region", "far", "--max-staleness", strict.String(), "--serve-stale")
	for _, i := range []int{follows, serves} {
		c.start(i)
		c.ready(i)
	}
	c.veto(0, "", "consumers", "put", "shop")
	var key struct{ Secret string }
	if err := json.Unmarshal([]byte(c.veto(0, "", "keys", "create", "--consumer", "shop")), &key); err != nil {
		t.Fatal(err)
	}
	for i := range c.nodes {
		c.says(i, key.Secret, "ok", exitOK)
	}
	leader := c.leader()
	for i := range 3 {
		if i != leader {
			c.kill(i, syscall.SIGKILL)
		}
	}
	blow := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for i, bound := range map[int]record.Duration{leader: 0, follows: 0, serves: record.Duration(strict)} {
		wg.Go(func() { c.growsStale(ctx, i, client.Question{Credential: key.Secret, MaxStaleness: bound}, blow) })
	}
	wg.Wait()
	v, err := c.at(serves).Validate(ctx, client.Question{Credential: key.Secret})
	if err != nil || v.Outcome != validate.Allow || v.AsOf.After(blow) || v.AsOf.IsZero() {
		t.Errorf("serving stale: %+v, %v", v, err)
	}
	asked := time.Now()
	status, err := c.at(follows).Cluster(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range status.Nodes {
		gone := n.ID != fmt.Sprintf("n%d", leader+1) && n.Role == record.NodeVoter
		if gone != (n.LagMillis == -1) || !gone && n.LagMillis < asked.Sub(blow).Milliseconds() {
			t.Errorf("%s after the blow: %+v", asked.Sub(blow), n)
		}
	}
}

// growsStale asks until the node says that it is stale, and a while longer, and holds every
// answer against the time of the blow.
func (c *cluster) growsStale(ctx context.Context, i int, q client.Question, blow time.Time) {
	api := c.at(i)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for stale := 0; stale < 50; {
		asked := time.Now()
		v, err := api.Validate(ctx, q)
		switch {
		case err != nil:
			c.t.Errorf("n%d: %v", i+1, err)
			return
		case v.AsOf.After(blow):
			c.t.Errorf("n%d answers %s as of %s after the blow", i+1, v.Outcome, v.AsOf.Sub(blow))
			return
		case v.Outcome == validate.Allow && asked.Sub(v.AsOf) > strict:
			c.t.Errorf("n%d allows with a state that is %s old", i+1, asked.Sub(v.AsOf))
		case v.Code == validate.Stale:
			stale++
		case stale > 0:
			c.t.Errorf("n%d answers %s after it was stale", i+1, v.Code)
		}
		<-tick.C
	}
}
