package notices

import (
	"bufio"
	"io"

	"veto/record"
)

// What tests go by.
const (
	MaxWord    = maxWord
	MaxWaiting = maxWaiting
	Silence    = silence
	Again      = dialLimit + redial
)

// ReadAll reads words until one cannot be, and hands on what they are.
func ReadAll(from io.Reader, each func(w any)) {
	r := reader{from: bufio.NewReader(from)}
	for {
		b, err := r.next()
		if err != nil {
			return
		}
		if w, ok := parse(b); ok && w.Notice != nil {
			each(*w.Notice)
		} else if ok {
			each(*w.Beacon)
		}
	}
}

// Frame is how a notice or a beacon is sent.
func Frame(v any) ([]byte, error) {
	var w word
	switch x := v.(type) {
	case record.Notice:
		w.Notice = &x
	case record.Beacon:
		w.Beacon = &x
	}
	return w.frame()
}
