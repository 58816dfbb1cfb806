package watch_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"veto/node/httpapi"
	"veto/node/httpapi/gate"
	"veto/node/httpapi/watch"
	"veto/record"
	"veto/record/event"
)

// source has the facts of a log that grows.
type source struct {
	mu      sync.Mutex
	facts   []event.Fact
	force   record.Revision
	first   record.Revision // what is before is dropped
	reads   int             // how often events were read
	changed chan struct{}   // closed at the next revision
}

func newSource() *source { return &source{changed: make(chan struct{})} }

// happen makes n events at the next revision.
func (s *source) happen(n int, filler string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.force++
	for i := range n {
		r := &record.Revocation{Name: record.Name{Target: record.TargetJTI, Issuer: "i", Value: fmt.Sprintf("%d.%d", s.force, i+1)}, Reason: filler}
		s.facts = append(s.facts, event.Fact{
			ID: event.ID{Revision: s.force, Number: uint32(i + 1)}, At: time.Unix(1_800_000_000, 0),
			Item: event.RevocationItem(r, record.DigestKey{}.Digest(r.Name), false, ""), Record: r,
		})
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *source) Events(after event.ID, limit int) (out []event.Fact, at event.ID, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	if after.Revision < s.first {
		return nil, after, watch.Gone(s.first)
	}
	if after.Revision > s.force {
		return nil, after, nil
	}
	at = after
	for _, f := range s.facts {
		if f.ID.Revision < after.Revision || f.ID.Revision == after.Revision && f.ID.Number <= after.Number {
			continue
		}
		if len(out) == limit {
			return out, at, nil
		}
		out, at = append(out, f), f.ID
	}
	if at.Revision < s.force {
		at = event.ID{Revision: s.force}
	}
	return out, at, nil
}

func (s *source) Now() (event.ID, error) {
	_, at, err := s.Events(event.ID{Revision: s.force}, 1<<30)
	return at, err
}

func (s *source) Await(ctx context.Context, r record.Revision) error {
	for {
		s.mu.Lock()
		there, changed := s.force >= r, s.changed
		s.mu.Unlock()
		if there {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *source) ClusterID() string { return "cluster-1" }

// server serves the source's streams; may can be taken away.
type server struct {
	*testing.T
	*source
	http    *httptest.Server
	denied  atomic.Bool
	closing chan struct{}
}

func serve(t *testing.T, change func(*watch.Config)) *server {
	t.Helper()
	s := &server{T: t, source: newSource(), closing: make(chan struct{})}
	c := watch.Config{Source: s.source, Heartbeat: time.Minute, Patience: time.Minute, Behind: time.Minute, Places: gate.NewPlaces(10), Closing: s.closing, Now: time.Now, After: time.After, Turn: func() watch.Turn { return (*gate.Turn)(nil) }}
	change(&c)
	streams := watch.New(c)
	s.http = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked, err := watch.Read(r)
		if err == nil {
			err = streams.Serve(w, r, asked, func() bool { return !s.denied.Load() })
		}
		if err != nil {
			p, _ := httpapi.ProblemOf(err)
			http.Error(w, p.Detail, p.Status)
		}
	}))
	t.Cleanup(s.http.Close)
	return s
}

// reader reads a stream, message by message.
type reader struct {
	*testing.T
	body *bufio.Reader
	done func()
}

func (s *server) open(query string, headers ...string) *reader {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 2*time.Minute)
	s.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.http.URL+"?"+query, nil)
	if err != nil {
		s.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { response.Body.Close() })
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "text/event-stream" {
		s.Fatalf("%s %v", response.Status, response.Header)
	}
	return &reader{s.T, bufio.NewReader(response.Body), cancel}
}

// message is one of the stream.
type message struct{ id, kind, data, comment string }

func (r *reader) next() (message, error) {
	var m message
	for {
		line, err := r.body.ReadString('\n')
		if err != nil {
			return m, err
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch name {
		case "":
			if value == "" && line == "\n" {
				return m, nil
			}
			m.comment = value
		case "id":
			m.id = value
		case "event":
			m.kind = value
		case "data":
			m.data = value
		}
	}
}

// event is the next message that is one.
func (r *reader) event() event.Event {
	r.Helper()
	for {
		m, err := r.next()
		if err != nil {
			r.Fatal(err)
		}
		if m.data == "" {
			continue
		}
		var e event.Event
		if err := json.Unmarshal([]byte(m.data), &e); err != nil || m.id != e.ID || m.kind != string(e.Type) {
			r.Fatalf("%+v %v", m, err)
		}
		return e
	}
}

// W1
func TestFollowsWithoutAGap(t *testing.T) {
	s := serve(t, func(*watch.Config) {})
	s.happen(3, "")
	s.happen(0, "")
	s.happen(700, "")
	const more = 200
	go func() {
		for i := range more {
			s.happen(i%4, "")
		}
	}()
	// Read by one who loses the connection again and again, and by one who does not.
	var want []string
	for r := s.open("after=0.0"); len(want) < 703+more/4*6; {
		want = append(want, r.event().ID)
	}
	at, got := "0.0", []string{}
	for len(got) < len(want) {
		r := s.open("after=0.0", "Last-Event-ID", at)
		for range min(97, len(want)-len(got)) {
			at = r.event().ID
			got = append(got, at)
		}
		r.done()
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("%d events, want %d", len(got), len(want))
	}
	for i := 1; i < len(want); i++ {
		a, _ := event.ParseID(want[i-1])
		b, _ := event.ParseID(want[i])
		if b.Revision < a.Revision || b.Revision == a.Revision && b.Number != a.Number+1 || b.Revision > a.Revision && b.Number != 1 {
			t.Fatalf("%s after %s", b, a)
		}
	}
	now := s.open("")
	s.happen(2, "")
	if e := now.event(); e.ID != fmt.Sprintf("%d.1", s.force) {
		t.Errorf("a stream from now on begins with %s at %d", e.ID, s.force)
	}
	// A place of a node that is ahead of this one.
	next := s.force + 1
	go s.happen(2, "")
	if e := s.open(fmt.Sprintf("after=%d.1", next)).event(); e.ID != fmt.Sprintf("%d.2", next) {
		t.Errorf("%s, want the second of revision %d", e.ID, next)
	}
}

func TestTypes(t *testing.T) {
	s := serve(t, func(*watch.Config) {})
	r := s.open("types=veto.key,veto.lifted")
	if m, err := r.next(); err != nil || m.id != "0.0" {
		t.Fatalf("%+v %v", m, err)
	}
	s.happen(2, "")
	k := &record.APIKey{ID: "key_1", Created: 2}
	s.mu.Lock()
	s.facts = append(s.facts, event.Fact{ID: event.ID{Revision: 2, Number: 1}, Item: event.KeyItem(k, false, 2), Record: k})
	s.mu.Unlock()
	s.happen(0, "")
	if e := r.event(); e.Type != event.KeyCreated {
		t.Errorf("%+v", e)
	}
	for _, bad := range []string{"types=veto.ke", "types=all", "after=x", "after=1", "after=1.1&after=2.1", "since=1"} {
		response, err := http.Get(s.http.URL + "?" + bad)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusUnprocessableEntity {
			t.Errorf("%s: %s", bad, response.Status)
		}
	}
}

// W2
func TestPlaceAhead(t *testing.T) {
	s := serve(t, func(c *watch.Config) { c.Behind = 10 * time.Millisecond })
	s.happen(1, "")
	response, err := http.Get(s.http.URL + "?after=99.0")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, _ := io.ReadAll(response.Body); response.StatusCode != http.StatusConflict || !strings.Contains(string(body), "another cluster") {
		t.Errorf("%s %s", response.Status, body)
	}
	// A node that catches up in time serves it.
	patient := serve(t, func(*watch.Config) {})
	go func() {
		for range 5 {
			patient.happen(1, "")
		}
	}()
	if e := patient.open("after=4.1").event(); e.ID != "5.1" {
		t.Errorf("%+v", e)
	}
}

// W2
func TestPlaceThatIsGone(t *testing.T) {
	s := serve(t, func(*watch.Config) {})
	for range 5 {
		s.happen(1, "")
	}
	s.first = 4
	response, err := http.Get(s.http.URL + "?after=3.1")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	if response.StatusCode != http.StatusGone || !strings.Contains(string(body), "/v1/revocations") {
		t.Errorf("%s %s", response.Status, body)
	}
	if e := s.open("after=4.0").event(); e.ID != "4.1" {
		t.Errorf("%+v", e)
	}
}

// W3
func TestSlowReader(t *testing.T) {
	s := serve(t, func(c *watch.Config) { c.Patience, c.Places = 3*time.Second, gate.NewPlaces(2) })
	slow, quick := s.open(""), s.open("")
	for range 200 {
		s.happen(10, strings.Repeat("x", 10_000)) // more than the sockets between them hold
	}
	for range 200 * 10 {
		quick.event()
	}
	// The slow one is let go, though it reads nothing: its room is free for another.
	late := time.After(time.Minute) // it would go by itself after two
	for {
		response, err := http.Get(s.http.URL + "?after=200.10")
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode == http.StatusOK {
			break
		}
		select {
		case <-late:
			t.Fatal("the slow one is still there")
		case <-time.After(10 * time.Millisecond):
		}
	}
	n := 0
	for ; ; n++ {
		if _, err := slow.next(); err != nil {
			break
		}
	}
	if n >= 200*10 {
		t.Error("the slow reader was waited for")
	}
}

// W3
func TestTooManyStreams(t *testing.T) {
	s := serve(t, func(c *watch.Config) { c.Places = gate.NewPlaces(1) })
	first := s.open("")
	response, err := http.Get(s.http.URL)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusServiceUnavailable {
		t.Error(response.Status)
	}
	s.happen(1, "")
	first.event()
}

// W4
func TestStreamEndsWithItsRight(t *testing.T) {
	for name, end := range map[string]func(*server){
		"at the next event":     func(s *server) { s.denied.Store(true); s.happen(1, "") },
		"at the next heartbeat": func(s *server) { s.denied.Store(true) },
		"with the node":         func(s *server) { close(s.closing) },
	} {
		s := serve(t, func(c *watch.Config) {
			if name == "at the next heartbeat" {
				c.Heartbeat = 20 * time.Millisecond
			}
		})
		r := s.open("")
		s.happen(1, "")
		r.event()
		end(s)
		for {
			m, err := r.next()
			if m.data != "" {
				t.Errorf("%s: %+v", name, m)
			}
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
}

// W5
func TestHeartbeat(t *testing.T) {
	s := serve(t, func(c *watch.Config) { c.Heartbeat = 20 * time.Millisecond })
	r := s.open("types=veto.key")
	s.happen(3, "")
	s.happen(0, "")
	for {
		m, err := r.next()
		if err != nil {
			t.Fatal(err)
		}
		if m.data != "" {
			t.Errorf("%+v", m)
		}
		if m.comment != "" && m.id == "2.0" {
			return
		}
	}
}
