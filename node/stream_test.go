package node_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"veto/client"
	"veto/node"
	"veto/record/event"
	"veto/record/trail"
	"veto/test/natsproc"
)

// publisher is another system, with a stream that the cluster takes events from.
type publisher struct {
	*story
	js      jetstream.JetStream // to publish with
	inside  jetstream.JetStream // to see the stream from inside
	subject string
}

func (p *publisher) publish(body, id string) {
	p.Helper()
	var options []jetstream.PublishOpt
	if id != "" {
		options = append(options, jetstream.WithMsgID(id))
	}
	if _, err := p.js.Publish(p.ctx, p.subject, []byte(body), options...); err != nil {
		p.Fatal(err)
	}
}

func (s *story) left(value string) string {
	return fmt.Sprintf(`{"target":"subject","issuer":%q,"value":%q}`, s.cluster.Issuer().URL(), value)
}

func cloudEvent(id, data string) string {
	return fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"/hr","type":"com.example.left","time":"2026-11-25T12:00:00Z","partner":"x","data":%s}`, id, data)
}

// numbers reads metrics of a node.
func (s *story) numbers(i int, names ...string) []float64 {
	s.Helper()
	out := make([]float64, len(names))
	for line := range strings.Lines(s.metrics(i)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n := slices.Index(names, name); n >= 0 {
			out[n], _ = strconv.ParseFloat(value, 64)
		}
	}
	return out
}

// acknowledged waits until all that is in the stream is.
func (p *publisher) acknowledged() {
	p.Helper()
	for {
		if pending, err := p.pending(); err == nil && pending == 0 {
			return
		}
		select {
		case <-p.ctx.Done():
			p.Fatal("not everything was acknowledged")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (p *publisher) pending() (uint64, error) {
	c, err := p.inside.Consumer(p.ctx, "EVENTS", "veto")
	if err != nil {
		return 0, err
	}
	info, err := c.Info(p.ctx)
	if err != nil {
		return 0, err
	}
	return info.NumPending + uint64(info.NumAckPending), nil
}

// revocations are those of the issuer's subjects, by value.
func (s *story) revocations(i int) map[string]client.Revocation {
	s.Helper()
	all := map[string]client.Revocation{}
	page, err := s.at(i).Revocations(s.ctx, client.List{Limit: 1000})
	if err != nil {
		s.Fatal(err)
	}
	for _, r := range page.Items {
		all[r.Value] = r
	}
	return all
}

// userStream is a cluster of three that takes events from a NATS server of the user's, in the name of
// a key that is bound to the demo issuer.
func userStream(t *testing.T) *publisher {
	t.Helper()
	server := natsproc.Start(t, "")
	conn, err := nats.Connect(server.URL, nats.MaxReconnects(-1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	for name, subject := range map[string]string{"EVENTS": "events.>", "DEAD": "dead"} {
		// Only what is published within a moment is the same to JetStream: the rest is for us to see.
		if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{subject}, Duplicates: 100 * time.Millisecond}); err != nil {
			t.Fatal(err)
		}
	}
	// As the node would make it, but for how long it waits for whoever has a message.
	_, err = js.CreateConsumer(t.Context(), "EVENTS", jetstream.ConsumerConfig{
		Durable: "veto", AckPolicy: jetstream.AckExplicitPolicy, AckWait: 2 * time.Second, MaxDeliver: -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	// The key is made when there is a cluster. Until then nobody takes events, and none is lost.
	var mu sync.Mutex
	keyID := "key_none"
	s := tellOf(t, 3, func(c *node.Config) {
		mu.Lock()
		defer mu.Unlock()
		c.EventsNATSURL, c.EventsStream, c.EventsDeadLetterSubject, c.EventsOperatorKeyID = server.URL, "EVENTS", "dead", keyID
	})
	s.trustDemoIssuer(0)
	p := &publisher{story: s, js: js, inside: js, subject: "events.hr"}
	p.publish(s.left("early"), "")
	key := s.key(client.KeyFields{Roles: revoker, Issuers: []string{s.cluster.Issuer().URL()}})
	mu.Lock()
	keyID = key.ID
	mu.Unlock()
	for i := range 3 {
		if err := s.cluster.StopNode(i); err != nil {
			t.Fatal(err)
		}
		if err := s.cluster.StartNode(i); err != nil {
			t.Fatal(err)
		}
		if err := s.cluster.AwaitReady(s.ctx, i); err != nil {
			t.Fatal(err)
		}
	}
	p.acknowledged()
	if r := s.revocations(s.leader())["early"]; r.By != key.ID {
		t.Errorf("what came before there was a key: %+v", r)
	}
	return p
}

// N5
func TestEventsOfAStreamAreTaken(t *testing.T) {
	p := userStream(t)
	p.publish(p.left("plain"), "")
	p.publish(cloudEvent("e-1", p.left("left")), "")
	p.acknowledged()
	now := p.revocations(p.leader())
	if now["plain"].Revision == 0 || now["left"].Revision == 0 {
		t.Fatalf("%+v", now)
	}
	if all := p.trail(0, trail.Filter{Action: "revoke"}); !strings.Contains(all, `"way":"jetstream","address":"EVENTS`) {
		t.Errorf("%s", all)
	}
	// The same event comes again, long after the server has forgotten it, and lifted is lifted.
	if _, err := p.at(2).Lift(p.ctx, now["left"].ID, "came back"); err != nil {
		t.Fatal(err)
	}
	p.publish(cloudEvent("e-1", p.left("left")), "other")
	p.publish(cloudEvent("e-2", p.left("left-2")), "")
	p.acknowledged()
	if now = p.revocations(p.leader()); now["left"].Revision != 0 || now["left-2"].Revision == 0 {
		t.Errorf("%+v", now)
	}
	// What cannot be taken is put aside, with the reason; nobody has to look for it in a log.
	bad := []string{
		`no JSON`, `{"target":"subject"}`, cloudEvent("e-3", `{"targets":1}`), `{"specversion":"1.0","data":{}}`,
		`{"target":"subject","issuer":"https://other.example","value":"x"}`, cloudEvent("e-1", p.left("another with the same id")),
	}
	for _, body := range bad {
		p.publish(body, "")
	}
	p.acknowledged()
	dead, err := p.inside.Stream(p.ctx, "DEAD")
	if err != nil {
		t.Fatal(err)
	}
	codes := map[string]string{} // one that is taken for long comes again, and is put aside twice
	for n := uint64(1); len(codes) < len(bad); n++ {
		letter, err := dead.GetMsg(p.ctx, n)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(bad, string(letter.Data)) || letter.Header.Get("Veto-Reason") == "" {
			t.Errorf("%s %v", letter.Data, letter.Header)
		}
		codes[string(letter.Data)] = letter.Header.Get("Veto-Code")
	}
	if got := strings.Join(slices.Sorted(maps.Values(codes)), " "); got != "bad_request conflict forbidden invalid invalid invalid" {
		t.Error(got)
	}
}

// N5: without a quorum nothing is acknowledged and nothing lost; and when the node that takes them is
// lost in between, each is done once.
func TestEventsSurviveTheirTaker(t *testing.T) {
	p := userStream(t)
	leader := p.leader()
	others := []int{(leader + 1) % 3, (leader + 2) % 3}
	for _, i := range others {
		if err := p.cluster.StopNode(i); err != nil {
			t.Fatal(err)
		}
	}
	p.publish(p.left("without a quorum"), "")
	// It is not acknowledged for as long as it takes to be given to someone else, if there were one.
	for until := time.Now().Add(3 * time.Second); time.Now().Before(until); <-time.After(50 * time.Millisecond) {
		if pending, err := p.pending(); err != nil || pending == 0 {
			t.Fatalf("acknowledged without a quorum: %d %v", pending, err)
		}
	}
	for _, i := range others {
		if err := p.cluster.StartNode(i); err != nil {
			t.Fatal(err)
		}
	}
	p.acknowledged()
	const many = 300
	for i := range many {
		p.publish(cloudEvent(fmt.Sprint("many-", i), p.left(fmt.Sprint("user-", i))), "")
		if i == many/2 {
			lost := p.leader()
			if err := p.cluster.StopNode(lost); err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := p.cluster.StartNode(lost); err != nil {
					t.Error(err)
				}
			}()
		}
	}
	p.acknowledged()
	alive := p.leader()
	now := p.revocations(alive)
	for i := range many {
		if now[fmt.Sprint("user-", i)].Revision == 0 {
			t.Errorf("event %d is lost", i)
		}
	}
	// Of each there was one event on the feed: none was done twice.
	r := p.follow(p.at(alive), "0.0")
	seen := map[string]int{}
	for len(seen) < many+2 {
		if e, data := r.next(p.story); e.Type == event.Revoked {
			if seen[data.Value]++; seen[data.Value] > 1 {
				t.Errorf("%s was done %d times", data.Value, seen[data.Value])
			}
		}
	}
}

// N5: the same with the stream in the node itself, where each publisher has a subject of its own.
func TestEventsOfTheNodesOwnStream(t *testing.T) {
	s := tellOf(t, 1, func(c *node.Config) {
		c.EventsEmbedded, c.EventsStream, c.EventsDeadLetterSubject = true, "EVENTS", "veto.dead"
	})
	s.trustDemoIssuer(0)
	bound := s.key(client.KeyFields{Roles: revoker, Issuers: []string{"https://other.example"}})
	free := s.key(client.KeyFields{Roles: revoker})
	as := func(key client.NewKey) *publisher {
		c, bad := s.nats(0, key)
		js, err := jetstream.New(c)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Publish("veto.events."+bound.ID+"x", nil); err != nil { // nobody else's
			t.Fatal(err)
		}
		select {
		case <-bad:
		case <-s.ctx.Done():
			t.Error("it publishes in the name of another")
		}
		return &publisher{story: s, js: js, subject: "veto.events." + key.ID}
	}
	as(free).publish(s.left("alice"), "id")
	as(bound).publish(s.left("bob"), "")
	taken := func(want ...float64) {
		t.Helper()
		for !slices.Equal(s.numbers(0, "veto_events_taken_total", "veto_events_refused_total"), want) {
			select {
			case <-s.ctx.Done():
				t.Fatal("not taken")
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	taken(1, 1)
	if now := s.revocations(0); now["alice"].By != free.ID || now["bob"].Revision != 0 {
		t.Errorf("%+v", now)
	}
	// The stream is where it was after a restart.
	if err := s.cluster.StopNode(0); err != nil {
		t.Fatal(err)
	}
	if err := s.cluster.StartNode(0); err != nil {
		t.Fatal(err)
	}
	if err := s.cluster.AwaitReady(s.ctx, 0); err != nil {
		t.Fatal(err)
	}
	as(free).publish(s.left("carol"), "")
	taken(1, 0)
	var names []string
	for value := range s.revocations(0) {
		names = append(names, value)
	}
	slices.Sort(names)
	if got, _ := json.Marshal(names); string(got) != `["alice","carol"]` {
		t.Errorf("%s", got)
	}
}
