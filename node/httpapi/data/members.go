package data

import "bytes"

// space is what may stand between the parts of JSON.
const space = " \t\r\n"

// members walks the members of an object that is known to be well-formed JSON. Name and value
// are slices of it.
type members struct {
	rest        []byte
	name, value []byte
}

// next goes to the first or next member; false after the last.
func (m *members) next() bool {
	m.rest = bytes.TrimLeft(m.rest[1:], space) // after the brace or the comma
	if len(m.rest) == 0 || m.rest[0] != '"' {
		return false
	}
	m.name = m.take(endOfString(m.rest))
	m.rest = bytes.TrimLeft(m.rest[1:], space) // after the colon
	m.value = m.take(endOfValue(m.rest))
	return true
}

// elements walks the elements of an array that is known to be well-formed JSON.
type elements struct{ rest, value []byte }

// next goes to the first or next element; false after the last.
func (e *elements) next() bool {
	e.rest = bytes.TrimLeft(e.rest[1:], space) // after the bracket or the comma
	if len(e.rest) == 0 || e.rest[0] == ']' {
		return false
	}
	n := endOfValue(e.rest)
	e.value = e.rest[:n]
	e.rest = bytes.TrimLeft(e.rest[n:], space)
	return true
}

// take cuts off the first n bytes, and what space follows them.
func (m *members) take(n int) []byte {
	taken := m.rest[:n]
	m.rest = bytes.TrimLeft(m.rest[n:], space)
	return taken
}

// endOfString is after the quote that ends the string at the start of b.
func endOfString(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(b)
}

// endOfValue is after the value at the start of b.
func endOfValue(b []byte) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			i += endOfString(b[i:]) - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i // it is the end of the object around the value
			}
			depth--
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return i
			}
			continue
		default:
			continue
		}
		if depth == 0 {
			return i + 1
		}
	}
	return len(b)
}
