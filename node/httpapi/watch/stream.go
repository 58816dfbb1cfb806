package watch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"veto/node/httpapi"
	"veto/record"
	"veto/record/event"
)

// Source is where events come from.
type Source interface {
	// Events gives up to limit facts behind the place, and the place up to which it has looked: that
	// of the last fact, or, if there is no more, of all that is in force. What is kept no more is a
	// *httpapi.Problem.
	Events(after event.ID, limit int) (facts []event.Fact, at event.ID, err error)
	// Now is the place behind all that is in force.
	Now() (event.ID, error)
	// Await blocks until the revision is in force; otherwise it returns the context's error.
	Await(ctx context.Context, r record.Revision) error
	// ClusterID names the cluster.
	ClusterID() string
}

// Places are where streams are served.
type Places interface {
	// Take takes one, if one is free, without waiting; Leave gives it back.
	Take() bool
	Leave()
}

// Turn is when something that has time computes: from Take, which waits for it until the context ends, to Leave.
type Turn interface {
	Take(ctx context.Context) error
	Leave()
}

// Config is what Streams are made of.
type Config struct {
	Source Source
	// Heartbeat is how often something is sent at least, and Patience how long a write may take.
	Heartbeat, Patience time.Duration
	// Behind is how long a place is waited for that is ahead of this node.
	Behind time.Duration
	// Places bounds how many streams there are at once.
	Places Places
	// Space is how long a stream rests, once it has sent all that there is, for every stream that there is: so all of
	// them together are woken a bounded number of times a second, and what happens meanwhile goes in one page.
	Space time.Duration
	After func(time.Duration) <-chan time.Time
	// Turn is when a stream that is far behind reads a page.
	Turn func() Turn
	// Closing is closed when all streams are to end.
	Closing <-chan struct{}
	Now     func() time.Time
}

// Streams serves streams.
type Streams struct {
	Config
	tail   *tail
	served atomic.Int64
}

// New makes Streams. They run only while Serve does.
func New(c Config) *Streams {
	return &Streams{Config: c, tail: &tail{source: c.Source}}
}

// pageLimit is how many facts are read at once, and pageBytes about how much is written at once.
const (
	pageLimit = 256
	pageBytes = 64 << 10
)

// Asked is what a request asks for.
type Asked struct {
	// After is a place; nil is the one where the stream is now.
	After *event.ID
	// Types that are wanted, or the beginnings of types, such as veto.key; all if there are none.
	Types []string
}

// Read reads a request. A Last-Event-ID is newer than what the address says: whoever lost the
// connection asks the same address again.
func Read(r *http.Request) (Asked, error) {
	var a Asked
	query := r.URL.Query()
	for name, values := range query {
		if name != "after" && name != "types" || len(values) > 1 {
			return a, record.Invalid("give after and types, each once, and nothing else")
		}
	}
	text := query.Get("after")
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		text = last
	}
	if text != "" {
		id, err := event.ParseID(text)
		if err != nil {
			return a, err
		}
		a.After = &id
	}
	for _, t := range strings.FieldsFunc(query.Get("types"), func(r rune) bool { return r == ',' }) {
		if !slices.ContainsFunc(event.Types, func(e event.Type) bool { return covers(t, e) }) {
			return a, record.Invalid("types: give one or more of %s, or the beginnings of such, with commas between", known())
		}
		a.Types = append(a.Types, t)
	}
	return a, nil
}

func known() string {
	var all []string
	for _, t := range event.Types {
		all = append(all, string(t))
	}
	return strings.Join(all, ", ")
}

func covers(wanted string, t event.Type) bool {
	return wanted == string(t) || strings.HasPrefix(string(t), wanted+".")
}

func (a *Asked) wants(t event.Type) bool {
	return len(a.Types) == 0 || slices.ContainsFunc(a.Types, func(w string) bool { return covers(w, t) })
}

// errEnded says that whoever listens may do so no longer.
var errEnded = errors.New("the stream was ended")

// Serve answers the request with a stream, until nobody listens or may tells that nobody should. An
// error is for the caller to answer with: then nothing was sent.
func (s *Streams) Serve(w http.ResponseWriter, r *http.Request, a Asked, may func() bool) error {
	if !s.Places.Take() {
		return &record.Unavailable{Detail: "this node has as many streams of events as it can serve; ask another", RetryAfter: time.Second}
	}
	defer s.Places.Leave()
	s.served.Add(1)
	defer s.served.Add(-1)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	go func() {
		select {
		case <-s.Closing:
			cancel()
		case <-ctx.Done():
		}
	}()
	var at event.ID
	var err error
	if a.After == nil {
		at, err = s.Source.Now()
	} else {
		at = *a.After
		err = s.reach(ctx, at)
	}
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // or nginx keeps events until there are many
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return nil
	}
	one := &stream{Streams: s, asked: a, out: w, control: http.NewResponseController(w), may: may, at: at}
	one.follow(ctx)
	return nil
}

// reach looks whether a stream can begin at the place. A node may be behind the one that gave it, but
// not for long: what it does not reach is more likely another cluster's, or of a state that was lost,
// and nothing would ever come.
func (s *Streams) reach(ctx context.Context, at event.ID) error {
	ctx, cancel := context.WithTimeout(ctx, s.Behind)
	defer cancel()
	err := s.Source.Await(ctx, at.Revision)
	if err != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return httpapi.NotReady(nil) // this node is stopping, or nobody listens any more
	}
	if err != nil {
		return record.Conflict("this node has not reached revision %d: it is behind, and another node may not be; or the place is of another cluster. To begin where the stream is now, leave it out", at.Revision)
	}
	_, _, err = s.Source.Events(at, 1)
	return err
}

// stream is one that is being served.
type stream struct {
	*Streams
	asked   Asked
	out     http.ResponseWriter
	control *http.ResponseController
	may     func() bool
	at      event.ID
	page    bytes.Buffer
}

// follow sends what happened, and then what happens. It returns when it can go on no longer: whoever
// listens sees the end, and can go on at any node from the last place.
func (s *stream) follow(ctx context.Context) {
	s.place()
	if s.flush() != nil {
		return
	}
	want := s.at.Revision // which is here: first comes what happened since
	for {
		wait, cancel := context.WithTimeout(ctx, s.Heartbeat)
		err := s.Source.Await(wait, want)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			if err = s.catchUp(ctx); err == nil {
				s.rest(ctx)
			}
			want = s.at.Revision + 1
		} else {
			err = s.beat()
		}
		if err != nil {
			return
		}
	}
}

// rest lets some time pass, of which there is the more the more streams there are: each that is woken for each
// revision is what makes many of them dear.
func (s *stream) rest(ctx context.Context) {
	select {
	case <-s.After(time.Duration(s.served.Load()) * s.Space):
	case <-ctx.Done():
	}
}

// beat shows that the stream is alive, and where it is.
func (s *stream) beat() error {
	if !s.may() {
		return errEnded
	}
	s.page.WriteString(": still here\n")
	s.place()
	return s.flush()
}

// catchUp sends what is in force, or as much of it as is read already: what is missing is waited for next.
func (s *stream) catchUp(ctx context.Context) error {
	for {
		if !s.may() || ctx.Err() != nil {
			return errEnded
		}
		p, err := s.behind(ctx)
		if err != nil {
			return err
		}
		for i := range p.pieces {
			if err := s.put(&p.pieces[i]); err != nil {
				return err
			}
		}
		s.at = p.at
		if err := s.flush(); err != nil || !p.more {
			return err
		}
	}
}

// behind gives what comes next. A stream that is far behind the others reads by itself, so that they do not wait for it.
func (s *stream) behind(ctx context.Context) (page, error) {
	p, far, err := s.tail.behind(s.at)
	if err != nil || !far {
		return p, err
	}
	turn := s.Turn()
	if err := turn.Take(ctx); err != nil {
		return page{}, err
	}
	defer turn.Leave()
	facts, at, err := s.Source.Events(s.at, pageLimit)
	if err != nil {
		return page{}, err
	}
	pieces, err := piecesOf(facts, s.Source.ClusterID())
	return page{pieces, at, len(facts) == pageLimit}, err
}

func (s *stream) put(p *piece) error {
	if !s.asked.wants(p.kind) {
		return nil
	}
	s.page.Write(p.text)
	if s.page.Len() < pageBytes {
		return nil
	}
	return s.flush()
}

// place tells where the stream is, without an event.
func (s *stream) place() { s.page.WriteString("id: " + s.at.String() + "\n\n") }

// flush sends what is on the page.
func (s *stream) flush() error {
	if s.page.Len() == 0 {
		return nil
	}
	_ = s.control.SetWriteDeadline(s.Config.Now().Add(s.Patience)) // without it, the server's own holds
	_, err := s.out.Write(s.page.Bytes())
	s.page.Reset()
	if err != nil {
		return err
	}
	return s.control.Flush()
}

// Gone is the problem of a place that is kept no more.
func Gone(first record.Revision) *httpapi.Problem {
	return httpapi.New(http.StatusGone, "gone", fmt.Sprintf("what happened before revision %d"+
		" is kept no more; begin a stream without a place, read GET /v1/revocations, and go on with the stream", first))
}
