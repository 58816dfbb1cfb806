package pepper_test

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"testing"

	"veto/record"
	"veto/replication/pepper"
)

// cluster has the peppers that were proposed.
type cluster struct {
	ring     *pepper.Ring
	peppers  *pepper.Peppers
	holds    map[string]bool // what all nodes have
	proposed []record.Body
}

func (c *cluster) ClusterID() string            { return "c" }
func (c *cluster) Peppers() *pepper.Peppers     { return c.peppers }
func (c *cluster) Outdated(int) []record.Rehash { return nil }
func (c *cluster) Counts() map[record.Chain]int {
	return map[record.Chain]int{{From: 1, To: 2}: 3, {}: 4}
}
func (c *cluster) AllHold(_ context.Context, f string) bool { return c.holds[f] }
func (c *cluster) Propose(_ context.Context, command record.Command) (record.Result, error) {
	c.proposed = append(c.proposed, command.Body)
	if b, ok := command.Body.(record.PutPepper); ok {
		c.peppers, _ = c.peppers.With(c.ring, "c", b.Pepper)
	}
	return record.Result{}, nil
}

// W5
func TestKeeperWaitsForAllNodes(t *testing.T) {
	one, two := newKey(), newKey()
	was, both := ring(t, one), ring(t, two, one)
	c := &cluster{ring: was, peppers: new(pepper.Peppers), holds: map[string]bool{}}
	tend := func(r *pepper.Ring, want int) {
		t.Helper()
		c.ring = r
		pepper.NewKeeper(r, c, c, rand.Reader, slog.New(slog.DiscardHandler)).Tend(t.Context())
		if len(c.proposed) != want {
			t.Fatalf("%d proposed, want %d", len(c.proposed), want)
		}
	}
	rotate := func(r *pepper.Ring) error {
		_, err := pepper.NewKeeper(r, c, c, rand.Reader, slog.New(slog.DiscardHandler)).Rotate(t.Context(), record.Command{})
		return err
	}
	refused := func(r *pepper.Ring) {
		t.Helper()
		if err := rotate(r); !errors.As(err, new(*record.Rejection)) {
			t.Fatal(err)
		}
	}
	tend(nil, 0)
	tend(was, 0)
	refused(nil)
	refused(was)
	c.holds[was.First()] = true
	tend(was, 1)
	tend(was, 1)
	if err := rotate(was); err != nil || c.peppers.Newest() != 2 {
		t.Fatal(err)
	}
	tend(both, 2)
	refused(both)
	c.holds[both.First()] = true
	tend(both, 4)
	tend(both, 4)
	for _, p := range c.peppers.Records() {
		if p.WrappedBy != both.First() {
			t.Errorf("%d is wrapped by %s", p.ID, p.WrappedBy)
		}
	}
	k := pepper.NewKeeper(ring(t, two), c, c, rand.Reader, slog.New(slog.DiscardHandler))
	if s := k.Status(); s.State != record.PepperHeld || len(s.Peppers) != 2 || len(s.Keys) != 2 || len(s.Keys[0].Peppers) != 0 || s.Keys[0].Secrets != 4 || len(s.Keys[1].Peppers) != 2 {
		t.Errorf("%+v", s)
	}
	c.peppers, _ = c.peppers.With(ring(t, newKey()), "c", c.peppers.Records()[0])
	tend(both, 4)
	refused(both)
	if k.State() != record.PepperLocked {
		t.Error(k.State())
	}
}
