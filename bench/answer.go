package bench

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// maxAnswer is how long an answer's body may be, in bytes.
const maxAnswer = 4 << 20

var errAnswer = errors.New("this is no answer of HTTP/1.1")

// answer is what a server said; the body is valid until the next is read into it.
type answer struct {
	status int
	body   []byte
	closes bool // the connection is of no use any more
}

// read reads one answer to its end.
func (a *answer) read(r *bufio.Reader) error {
	a.body, a.closes = a.body[:0], false
	line, err := a.line(r)
	if err != nil {
		return err
	}
	// HTTP/1.1 200 OK
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) || len(line) > 12 && line[12] != ' ' {
		return errAnswer
	}
	if a.status, err = strconv.Atoi(string(line[9:12])); err != nil || a.status < 200 {
		return errAnswer // nobody was asked to go on
	}
	length, chunked, err := a.head(r)
	switch {
	case err != nil:
		return err
	case a.status == 204 || a.status == 304:
		return nil
	case chunked:
		return a.chunks(r)
	case length < 0:
		return fmt.Errorf("%w: it does not say where it ends", errAnswer)
	}
	return a.more(r, length)
}

func (a *answer) line(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return nil, fmt.Errorf("%w: a line is too long", errAnswer)
	}
	return bytes.TrimRight(line, "\r\n"), err
}

// head reads the header; length is -1 if it does not say.
func (a *answer) head(r *bufio.Reader) (length int, chunked bool, err error) {
	length = -1
	for {
		line, err := a.line(r)
		if err != nil || len(line) == 0 {
			return length, chunked, err
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			return 0, false, errAnswer
		}
		value = bytes.TrimSpace(value)
		switch {
		case is(name, "content-length"):
			if length, err = strconv.Atoi(string(value)); err != nil || length < 0 {
				return 0, false, errAnswer
			}
		case is(name, "transfer-encoding"):
			chunked = is(value, "chunked")
		case is(name, "connection"):
			a.closes = is(value, "close")
		}
	}
}

func is(b []byte, lower string) bool {
	return len(b) == len(lower) && bytes.EqualFold(b, []byte(lower))
}

func (a *answer) more(r *bufio.Reader, n int) error {
	if n > maxAnswer-len(a.body) {
		return fmt.Errorf("%w: it is longer than %d MiB", errAnswer, maxAnswer>>20)
	}
	at := len(a.body)
	a.body = append(a.body, make([]byte, n)...)
	_, err := io.ReadFull(r, a.body[at:])
	return err
}

func (a *answer) chunks(r *bufio.Reader) error {
	for {
		line, err := a.line(r)
		if err != nil {
			return err
		}
		size, _, _ := bytes.Cut(line, []byte(";"))
		n, err := strconv.ParseUint(string(bytes.TrimSpace(size)), 16, 31)
		if err != nil {
			return errAnswer
		}
		if n == 0 {
			_, _, err := (&answer{}).head(r) // trailers
			return err
		}
		if err := a.more(r, int(n)); err != nil {
			return err
		}
		if end, err := a.line(r); err != nil || len(end) > 0 {
			return errors.Join(err, errAnswer)
		}
	}
}
