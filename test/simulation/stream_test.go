package simulation

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"veto/node/httpapi/bulk"
	"veto/node/httpapi/gate"
	"veto/record"
)

// streams are all bulk imports.
type streams struct {
	mu  sync.Mutex
	all []*stream
}

// stream is a bulk import: lines under one Idempotency-Key, sent by whoever likes, to whatever node.
type stream struct {
	number int
	key    string
	alike  bool // lines have one reason; otherwise each its own, so that parts are small
	owner  int

	mu    sync.Mutex
	lines []line
	begun int64 // when it was first sent, by the history's clock; 0 if never
}

// line is one of them, and what is known of it.
type line struct {
	text string
	kind lineKind
	name record.Name
	one  *credential     // that it denies; nil if it only has a name
	told record.Revision // the lowest at which it was told to be done; 0 if it never was
}

type lineKind int

const (
	right lineKind = iota
	wrong          // nobody understands it
	early          // its issuer is not there before the end
)

const (
	maxLines   = 75
	sampled    = 4 // lines of a stream whose tokens are asked about
	sendFor    = 8 * time.Second
	lateIssuer = "https://late.test"
)

// streamSum stands in requests for a stream, as in the control plane.
var streamSum = [32]byte{'i', 'm', 'p', 'o', 'r', 't'}

func (x *stream) String() string { return "stream " + x.key }

// newStream makes one. Whoever makes it lifts what it has revoked.
func (c client) newStream() *stream {
	n := c.made.Add(1)
	x := &stream{number: int(n), key: fmt.Sprint("stream", n), alike: c.random.IntN(2) == 0, owner: c.id}
	many := 1 + c.random.IntN(maxLines)
	for i := range many {
		name := record.Name{Target: record.TargetJTI, Issuer: issuer, Value: fmt.Sprint("l", n, "-", i)}
		l := line{name: name}
		switch w := c.random.IntN(many); {
		case w < sampled:
			l.one = c.newToken(c.id)
			l.name = *l.one.jti()
			l.one.mu.Lock()
			l.one.stuck, l.one.name = true, l.name // its owner knows once it is told
			l.one.mu.Unlock()
		case w < sampled+2:
			l.kind = wrong
		case w < sampled+4:
			l.kind, l.name.Issuer = early, lateIssuer
		}
		reason := "import"
		if !x.alike {
			reason = fmt.Sprint("import ", i)
		}
		l.text = fmt.Sprintf(`{"target":"jti","issuer":%q,"value":%q,"reason":%q}`, l.name.Issuer, l.name.Value, reason)
		if l.kind == wrong {
			l.text = `{"target":"jti"`
		}
		x.lines = append(x.lines, l)
	}
	c.streams.mu.Lock()
	defer c.streams.mu.Unlock()
	c.streams.all = append(c.streams.all, x)
	return x
}

// jti is the name by which the token alone is denied.
func (c *credential) jti() *record.Name {
	at := slices.IndexFunc(c.names, func(n record.Name) bool { return n.Target == record.TargetJTI })
	return &c.names[at]
}

// stream sends one, mostly again: all of it, or until it is cut off.
func (c client) stream(node int) {
	c.streams.mu.Lock()
	all := c.streams.all
	c.streams.mu.Unlock()
	if len(all) == 0 || len(all) < 3 && c.random.IntN(6) == 0 {
		c.send(node, c.newStream(), nil)
		return
	}
	x := all[c.random.IntN(len(all))]
	if c.random.IntN(8) == 0 {
		c.sendOther(node, x)
		return
	}
	c.send(node, x, nil)
	if x.owner != c.id || c.plan.clocks {
		return // the requests of another day are not known any more, and done again
	}
	for _, l := range x.snapshot() {
		if l.one != nil && l.told > 0 && c.random.IntN(sampled) == 0 {
			c.toggle(node, l.one)
		}
	}
}

// snapshot is what is known now.
func (x *stream) snapshot() []line {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.lines)
}

// sendOther sends other lines under the key of one of which some are done: they are not told done for that.
func (c client) sendOther(node int, x *stream) {
	lines := x.snapshot()
	if lines[0].told == 0 || c.plan.clocks {
		return
	}
	other := &stream{number: x.number, key: x.key, lines: lines}
	for i := range other.lines {
		other.lines[i].one, other.lines[i].told = nil, 0
	}
	other.lines[0].text = strings.Replace(other.lines[0].text, "import", "another", 1)
	if other.lines[0].kind == right {
		c.send(node, other, func(p bulk.Progress) {
			if p.Through > 0 || p.Done {
				c.wrong("%s: other lines under its key were told done: %+v", x, p)
			}
		})
	}
}

// send sends a stream to a node, and hears what becomes of it; or then hears it instead. It tells whether it was
// taken in to its end.
func (c client) send(node int, x *stream, then func(bulk.Progress)) (ended bool) {
	cut := -1
	if c.random.IntN(3) == 0 {
		cut = c.random.IntN(len(x.lines))
	}
	return c.sendUntil(node, x, cut, then)
}

func (c client) sendUntil(node int, x *stream, cut int, then func(bulk.Progress)) (ended bool) {
	c.with(node, sendFor, func(ctx context.Context, n *incarnation) {
		h := &hearer{client: c, node: n, stream: x, then: then, refused: map[uint64]bool{}}
		if then == nil {
			h.begin()
		}
		from := newSender(x.lines, cut, time.Duration(c.random.IntN(3)*c.random.IntN(200))*time.Millisecond, 1+c.random.IntN(30))
		most := 1 + c.random.IntN(maxLines) // another each time that it is sent
		importer := bulk.Importer{
			Most:  func() int { return most },
			Turn:  (*gate.Turn)(nil), // the node has processors to spare
			Named: n.intake.Lines(&record.APIKey{ID: adminKey, Roles: []record.Role{record.RoleAdmin}}).Named,
			Propose: func(ctx context.Context, b record.Import) (record.Result, error) {
				return n.replica.Propose(ctx, record.Command{Request: record.Request{Key: x.key, Sum: streamSum}, Body: b})
			},
			Stop: from.stop,
		}
		err := importer.Import(ctx, from, h)
		var nothing *bulk.NotBegun
		switch {
		case h.last.Done:
			ended = h.end()
		case errors.As(err, &nothing):
			c.tally.saw("send a stream", "nothing of it")
		case h.last.Through > 0:
			c.tally.saw("send a stream", "part of it")
		default:
			c.tally.saw("send a stream", "unknown")
		}
		if err != nil {
			c.tell("%s to %s: %+v, %v", x, nodeID(node), h.last, err)
		}
	})
	return ended
}

// sender gives some lines at a time, and breaks off where it is cut.
type sender struct {
	text    []byte
	cut     bool
	pause   time.Duration
	some    int // lines at a time
	stopped chan struct{}
	once    sync.Once
}

func newSender(lines []line, cut int, pause time.Duration, some int) *sender {
	s := &sender{pause: pause, some: some, stopped: make(chan struct{}), cut: cut >= 0}
	for i := range lines {
		if i == cut {
			s.text = append(s.text, lines[i].text[:len(lines[i].text)/2]...)
			break
		}
		s.text = append(append(s.text, lines[i].text...), '\n')
	}
	return s
}

func (s *sender) stop() { s.once.Do(func() { close(s.stopped) }) }

func (s *sender) Read(b []byte) (int, error) {
	if len(s.text) == 0 && s.cut {
		return 0, io.ErrUnexpectedEOF
	}
	if len(s.text) == 0 {
		return 0, io.EOF
	}
	select {
	case <-s.stopped:
		return 0, io.ErrClosedPipe
	case <-time.After(s.pause):
	}
	size := 0
	for range s.some {
		if at := bytes.IndexByte(s.text[size:], '\n'); at >= 0 {
			size += at + 1
		} else {
			size = len(s.text)
		}
	}
	n := copy(b, s.text[:size])
	s.text = s.text[n:]
	return n, nil
}

// hearer hears the answer, a line at a time.
type hearer struct {
	client
	node    *incarnation
	stream  *stream
	then    func(bulk.Progress)
	refused map[uint64]bool
	last    bulk.Progress
}

// begin notes that lines may be done from now on.
func (h *hearer) begin() {
	x := h.stream
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.begun > 0 {
		return
	}
	x.begun = h.order()
	for i := range x.lines {
		if one := x.lines[i].one; one != nil {
			h.touch(one)
		}
	}
}

func (h *hearer) Write(b []byte) (int, error) {
	if h.node.dead.Load() {
		return 0, io.ErrClosedPipe
	}
	var p bulk.Progress
	if err := json.Unmarshal(b, &p); err != nil {
		h.wrong("%s was answered %q: %v", h.stream, b, err)
	}
	if h.last = p; h.then != nil {
		h.then(p)
		return len(b), nil
	}
	if p.Line > 0 {
		h.refused[p.Line] = true
		if l := &h.stream.lines[p.Line-1]; l.kind == right && !h.plan.clocks {
			h.wrong("%s: line %d is right, and was refused: %s, %s", h.stream, p.Line, p.Code, p.Detail)
		}
	}
	h.saw(p.Revision)
	for _, l := range h.done(p) {
		h.known(l.one, h.node.number, h.stream.begun, p.Revision, true)
	}
	return len(b), nil
}

// done notes which lines were told done, and gives those of a credential that are new.
func (h *hearer) done(p bulk.Progress) (fresh []line) {
	x := h.stream
	x.mu.Lock()
	defer x.mu.Unlock()
	for i := range x.lines[:min(p.Through, uint64(len(x.lines)))] {
		l := &x.lines[i]
		switch {
		case h.refused[uint64(i+1)]:
			continue
		case l.kind == wrong, l.kind == early && !h.late.Load():
			h.wrong("%s: line %d cannot be done, and was told done: %+v", x, i+1, p)
			continue
		}
		if l.told == 0 && l.one != nil {
			fresh = append(fresh, *l)
		}
		if l.told == 0 || p.Revision < l.told {
			l.told = p.Revision
		}
	}
	return fresh
}

// end holds the last line of an answer against what it says of all.
func (h *hearer) end() bool {
	h.tally.saw("send a stream", "all of it")
	if h.last.Resumed > 0 {
		h.tally.saw("send a stream", "all of it, known in part")
	}
	if h.then == nil && (h.last.Through != uint64(len(h.stream.lines)) || h.last.Refused != uint64(len(h.refused))) {
		h.wrong("%s of %d lines was told done, %d refused: %+v", h.stream, len(h.stream.lines), len(h.refused), h.last)
	}
	return true
}

// endStreams has each stream taken in to its end, once all is mended, and with it what could not be before.
func (s *simulation) endStreams() {
	s.streamsStand()
	c := client{s, -1, s.random}
	for until := time.Now().Add(settleIn); !s.late.Load(); s.pause(100 * time.Millisecond) {
		late := record.PutIssuer{Issuer: record.Issuer{ID: "late", Issuer: lateIssuer, Algorithms: []string{"EdDSA"}, MaxLifetime: record.Duration(life)}}
		c.propose(s.random.IntN(nodes), "put an issuer", late, 5*time.Second, func(o outcome, _ record.Revision, _ int64) { s.late.Store(o == done) })
		if time.Now().After(until) {
			s.wrong("an issuer cannot be put in %s, though all is mended", settleIn)
			return
		}
	}
	for _, x := range s.streams.all {
		for until := time.Now().Add(settleIn); !c.sendUntil(s.random.IntN(nodes), x, -1, nil); s.pause(100 * time.Millisecond) {
			if time.Now().After(until) {
				s.wrong("%s is not taken in to its end in %s, though all is mended", x, settleIn)
				return
			}
		}
	}
}

// streamsStand looks whether each line that was told done is revoked on every node, by what was told.
func (s *simulation) streamsStand() {
	for _, x := range s.streams.all {
		for i, l := range x.lines {
			if l.told == 0 || l.one != nil && l.one.lifts > 0 {
				continue // what was lifted is held against what its owner knows
			}
			d := []record.Digest{s.net.whoIs(0).view.Digest(l.name)}
			for at := range nodes {
				if s.net.whoIs(at).view.FirstDenied(d, record.NoIssuedAt) < 0 {
					s.wrong("%s: line %d, %v, was told done at %d, and %s does not deny it", x, i+1, l.name, l.told, nodeID(at))
				}
			}
			// States are the same on all: see states.
			if r, _ := s.net.whoIs(0).view.Revoked(l.name, record.NoIssuedAt); r.Revision > l.told && !s.plan.clocks {
				s.wrong("%s: line %d, %v, was told done at %d, and was at %d", x, i+1, l.name, l.told, r.Revision)
			}
		}
	}
}

// once looks whether each line of a stream, and each event, is revoked, and was so once.
func (s *simulation) once(happened map[record.Digest]int) {
	s.streamsStand()
	for _, x := range s.streams.all {
		for i, l := range x.lines {
			n := happened[s.net.whoIs(0).view.Digest(l.name)]
			switch {
			case l.kind == wrong:
			case l.told == 0:
				s.wrong("%s: line %d was not told done in the end", x, i+1)
			case n != 1 && !s.plan.clocks && (l.one == nil || l.one.lifts == 0):
				s.wrong("%s: line %d was revoked %d times", x, i+1, n)
			}
		}
	}
	for _, m := range s.messages.all {
		if n := happened[s.net.whoIs(0).view.Digest(*m.one.jti())]; n != 1 && !s.plan.clocks && m.one.lifts == 0 {
			s.wrong("what event %s asks for was revoked %d times", m.place, n)
		}
	}
}
