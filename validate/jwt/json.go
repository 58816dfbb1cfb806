package jwt

import (
	"encoding/json"
	"errors"
	"unicode/utf8"
)

// Bounds of a header and of claims. Their size is bounded with the token's.
const (
	maxDepth   = 16
	maxMembers = 256
)

var errJSON = errors.New("not a strict JSON object")

// member is one member of an object; raw is its value's text, within the bytes that were read.
type member struct {
	name string
	raw  []byte
}

// object is a JSON object's members in their order.
type object []member

// get gives the member's raw value; nil if it is not there.
func (o object) get(name string) []byte {
	for _, m := range o {
		if m.name == name {
			return m.raw
		}
	}
	return nil
}

// readObject reads one JSON object and nothing after it. It refuses, at any depth, duplicate
// members, invalid UTF-8, lone surrogates, and what goes over the bounds: two readers of such
// a text could understand two things.
func readObject(b []byte) (object, error) {
	if !utf8.Valid(b) {
		return nil, errJSON
	}
	r := &reader{b: b}
	r.space()
	o, ok := r.object(0)
	r.space()
	if !ok || r.i != len(b) {
		return nil, errJSON
	}
	return o, nil
}

type reader struct {
	b       []byte
	i       int
	members int
}

func (r *reader) space() {
	for r.i < len(r.b) {
		switch r.b[r.i] {
		case ' ', '\t', '\n', '\r':
			r.i++
		default:
			return
		}
	}
}

// take consumes the byte if it is next.
func (r *reader) take(c byte) bool {
	if r.i < len(r.b) && r.b[r.i] == c {
		r.i++
		return true
	}
	return false
}

func (r *reader) object(depth int) (object, bool) {
	if depth > maxDepth || !r.take('{') {
		return nil, false
	}
	o := object{}
	r.space()
	if r.take('}') {
		return o, true
	}
	for {
		m, ok := r.member(depth)
		if !ok || o.get(m.name) != nil {
			return nil, false
		}
		o = append(o, m)
		r.space()
		if r.take('}') {
			return o, true
		}
		if !r.take(',') {
			return nil, false
		}
		r.space()
	}
}

func (r *reader) member(depth int) (member, bool) {
	if r.members++; r.members > maxMembers {
		return member{}, false
	}
	start := r.i
	if !r.string() {
		return member{}, false
	}
	name, ok := text(r.b[start:r.i])
	if !ok {
		return member{}, false
	}
	r.space()
	if !r.take(':') {
		return member{}, false
	}
	r.space()
	start = r.i
	if !r.value(depth + 1) {
		return member{}, false
	}
	return member{name, r.b[start:r.i]}, true
}

func (r *reader) value(depth int) bool {
	if r.i >= len(r.b) {
		return false
	}
	switch c := r.b[r.i]; {
	case c == '{':
		_, ok := r.object(depth)
		return ok
	case c == '[':
		return r.array(depth)
	case c == '"':
		return r.string()
	case c == 't':
		return r.word("true")
	case c == 'f':
		return r.word("false")
	case c == 'n':
		return r.word("null")
	}
	return r.number()
}

func (r *reader) array(depth int) bool {
	if depth > maxDepth || !r.take('[') {
		return false
	}
	r.space()
	if r.take(']') {
		return true
	}
	for {
		if r.members++; r.members > maxMembers || !r.value(depth+1) {
			return false
		}
		r.space()
		if r.take(']') {
			return true
		}
		if !r.take(',') {
			return false
		}
		r.space()
	}
}

func (r *reader) word(w string) bool {
	if len(r.b)-r.i < len(w) || string(r.b[r.i:r.i+len(w)]) != w {
		return false
	}
	r.i += len(w)
	return true
}

func (r *reader) digits() bool {
	start := r.i
	for r.i < len(r.b) && r.b[r.i] >= '0' && r.b[r.i] <= '9' {
		r.i++
	}
	return r.i > start
}

func (r *reader) number() bool {
	r.take('-')
	if !r.take('0') && !r.digits() {
		return false
	}
	if r.take('.') && !r.digits() {
		return false
	}
	if r.take('e') || r.take('E') {
		if !r.take('+') {
			r.take('-')
		}
		return r.digits()
	}
	return true
}

func (r *reader) string() bool {
	if !r.take('"') {
		return false
	}
	for r.i < len(r.b) {
		c := r.b[r.i]
		r.i++
		switch {
		case c == '"':
			return true
		case c < 0x20:
			return false
		case c == '\\' && !r.escape():
			return false
		}
	}
	return false
}

func (r *reader) escape() bool {
	if r.i >= len(r.b) {
		return false
	}
	c := r.b[r.i]
	r.i++
	switch c {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return true
	case 'u':
		first, ok := r.hex()
		if !ok || first >= 0xdc00 && first < 0xe000 {
			return false
		}
		if first < 0xd800 || first >= 0xdc00 {
			return true
		}
		if !r.take('\\') || !r.take('u') {
			return false
		}
		second, ok := r.hex()
		return ok && second >= 0xdc00 && second < 0xe000
	}
	return false
}

func (r *reader) hex() (v rune, ok bool) {
	if len(r.b)-r.i < 4 {
		return 0, false
	}
	for range 4 {
		c := r.b[r.i]
		r.i++
		switch {
		case c >= '0' && c <= '9':
			v = v<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			v = v<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			v = v<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	return v, true
}

// text reads a raw value as a string; false if it is none.
func text(raw []byte) (string, bool) {
	if len(raw) < 2 || raw[0] != '"' {
		return "", false
	}
	for _, c := range raw[1 : len(raw)-1] {
		if c == '\\' {
			var s string
			err := json.Unmarshal(raw, &s)
			return s, err == nil
		}
	}
	return string(raw[1 : len(raw)-1]), true
}
