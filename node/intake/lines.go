package intake

import (
	"bytes"

	"veto/record"
)

// Lines reads the lines of one key's stream, which are much alike: of one that differs from the line before in nothing but
// its value, that alone is looked at. It is used by one goroutine.
type Lines struct {
	intake *Intake
	by     *record.APIKey
	// last is what the line was that had the value between before and after; they are empty if there is none.
	last          record.Revocation
	before, after []byte
}

// Lines reads a stream of the key's.
func (x *Intake) Lines(by *record.APIKey) *Lines { return &Lines{intake: x, by: by} }

// Named makes a revocation of one line, which is valid until it returns.
func (l *Lines) Named(line []byte) (record.Revocation, error) {
	if value, ok := l.between(line); ok {
		l.last.Value = string(value)
		return l.last, nil
	}
	b, err := Parse(line)
	if err != nil {
		return record.Revocation{}, err
	}
	r, err := l.intake.Named(l.by, b)
	l.before, l.after = nil, nil
	if err == nil && r.Target.OfIssuer() && r.Value != "" && len(r.And) == 0 {
		l.remember(line, r)
	}
	return r, err
}

// remember notes a line that was understood, if it is clear where its value is.
func (l *Lines) remember(line []byte, r record.Revocation) {
	const name = `"value"`
	at := bytes.Index(line, []byte(name))
	if at < 0 || bytes.IndexByte(line, '\\') >= 0 {
		return // without one, a quote begins or ends a string
	}
	gap, rest, ok := bytes.Cut(line[at+len(name):], []byte{'"'})
	if !ok || string(bytes.TrimSpace(gap)) != ":" || !bytes.HasPrefix(rest, append([]byte(r.Value), '"')) {
		return
	}
	l.last = r
	l.before, l.after = bytes.Clone(line[:len(line)-len(rest)]), bytes.Clone(rest[len(r.Value):])
}

// between finds the value of a line that is as the last one but for that, and whose value is what it looks like, and
// nothing that is refused.
func (l *Lines) between(line []byte) (value []byte, ok bool) {
	end := len(line) - len(l.after)
	if l.before == nil || end <= len(l.before) || !bytes.HasPrefix(line, l.before) || !bytes.HasSuffix(line, l.after) {
		return nil, false
	}
	value = line[len(l.before):end]
	for _, b := range value {
		if b < ' ' || b > '~' || b == '"' || b == '\\' {
			return nil, false
		}
	}
	return value, len(value) <= record.MaxNameValue && !IsCredential(string(value))
}
