package jwt

import (
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// Bounds of a header and of claims. Their size is bounded with the token's.
const (
	maxDepth   = 16
	maxMembers = 256
)

// member is one member of an object; raw is its value's text, a part of what was read.
type member struct{ name, raw string }

// object is a JSON object's members in their order.
type object []member

// get gives the member's raw value; empty if it is not there.
func (o object) get(name string) string {
	for i := range o {
		if o[i].name == name {
			return o[i].raw
		}
	}
	return ""
}

func (o object) has(name string) bool {
	for i := range o {
		if o[i].name == name {
			return true
		}
	}
	return false
}

// readObject reads one JSON object and nothing after it, into room if it is long enough. It
// refuses, at any depth, duplicate members, invalid UTF-8, lone surrogates, and what goes over
// the bounds: two readers of such a text could understand two things.
func readObject(s string, room object) (object, bool) {
	if !utf8.ValidString(s) {
		return nil, false
	}
	r := reader{s: s, members: room[:0]}
	r.space()
	ok := r.object(0)
	r.space()
	return r.members, ok && r.i == len(s)
}

// reader walks the text. Members holds those of the objects that are open, the outermost first.
type reader struct {
	s       string
	i       int
	count   int
	members object
}

func (r *reader) space() {
	for r.i < len(r.s) {
		switch r.s[r.i] {
		case ' ', '\t', '\n', '\r':
			r.i++
		default:
			return
		}
	}
}

// take consumes the byte if it is next.
func (r *reader) take(c byte) bool {
	if r.i < len(r.s) && r.s[r.i] == c {
		r.i++
		return true
	}
	return false
}

// object leaves the members of the outermost object behind, and of an inner one none.
func (r *reader) object(depth int) bool {
	if depth > maxDepth || !r.take('{') {
		return false
	}
	first, seen := len(r.members), uint64(0)
	r.space()
	if r.take('}') {
		return true
	}
	for {
		if !r.member(depth, first, &seen) {
			return false
		}
		r.space()
		if r.take('}') {
			if depth > 0 {
				r.members = r.members[:first]
			}
			return true
		}
		if !r.take(',') {
			return false
		}
		r.space()
	}
}

// member reads one, unless the object whose members begin at first has one of that name. Seen has
// a bit for each name so far, so that most names need not be compared.
func (r *reader) member(depth, first int, seen *uint64) bool {
	if r.count++; r.count > maxMembers {
		return false
	}
	start := r.i
	if !r.string() {
		return false
	}
	name, ok := text(r.s[start:r.i])
	if !ok {
		return false
	}
	bit := mark(name)
	if *seen&bit != 0 && r.members[first:].has(name) {
		return false
	}
	*seen |= bit
	r.space()
	if !r.take(':') {
		return false
	}
	r.space()
	at := len(r.members)
	r.members = append(r.members, member{name: name})
	start = r.i
	if !r.value(depth + 1) {
		return false
	}
	r.members[at].raw = r.s[start:r.i]
	return true
}

func mark(name string) uint64 {
	if name == "" {
		return 1
	}
	return 1 << ((uint(len(name)) + uint(name[0])*5 + uint(name[len(name)-1])*11) & 63)
}

func (r *reader) value(depth int) bool {
	if r.i >= len(r.s) {
		return false
	}
	switch r.s[r.i] {
	case '{':
		return r.object(depth)
	case '[':
		return r.array(depth)
	case '"':
		return r.string()
	case 't':
		return r.word("true")
	case 'f':
		return r.word("false")
	case 'n':
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
		if r.count++; r.count > maxMembers || !r.value(depth+1) {
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
	if len(r.s)-r.i < len(w) || r.s[r.i:r.i+len(w)] != w {
		return false
	}
	r.i += len(w)
	return true
}

func (r *reader) digits() bool {
	start := r.i
	for r.i < len(r.s) && r.s[r.i] >= '0' && r.s[r.i] <= '9' {
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
	s, i := r.s, r.i
	for i < len(s) {
		if i+8 <= len(s) && ordinary(load(s, i)) {
			i += 8
			continue
		}
		c := s[i]
		i++
		switch {
		case c == '"':
			r.i = i
			return true
		case c < 0x20:
			return false
		case c == '\\':
			r.i = i
			if !r.escape() {
				return false
			}
			i = r.i
		}
	}
	return false
}

func load(s string, i int) uint64 {
	_ = s[i+7]
	return uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 |
		uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
}

// ordinary tells that none of the eight bytes ends a string, escapes or is a control character.
// It may say no of eight that are: then they are looked at one by one.
func ordinary(w uint64) bool {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	quote, slash := w^(ones*'"'), w^(ones*'\\')
	return ((w-ones*0x20)&^w|(quote-ones)&^quote|(slash-ones)&^slash)&high == 0
}

func (r *reader) escape() bool {
	if r.i >= len(r.s) {
		return false
	}
	c := r.s[r.i]
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
	if len(r.s)-r.i < 4 {
		return 0, false
	}
	for range 4 {
		c := r.s[r.i]
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
func text(raw string) (string, bool) {
	if len(raw) < 2 || raw[0] != '"' {
		return "", false
	}
	if strings.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1], true
	}
	var s string
	err := json.Unmarshal([]byte(raw), &s)
	return s, err == nil
}
