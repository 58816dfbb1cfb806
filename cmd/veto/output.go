package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/jedib0t/go-pretty/v6/table"

	"veto/record"
)

// longestLine is of what commands read line by line, in bytes.
const longestLine = 1 << 20

// linesOf reads line by line; see lineError.
func linesOf(r io.Reader) *bufio.Scanner {
	in := bufio.NewScanner(r)
	in.Buffer(nil, longestLine)
	return in
}

// lineError says why lines could not be read on.
func lineError(err error) error {
	if errors.Is(err, bufio.ErrTooLong) {
		return fmt.Errorf("a line is longer than %d MiB, and nothing that is wanted here is", longestLine>>20)
	}
	return err
}

// printer shows results: tables to people, the API's own JSON to programs.
type printer struct {
	w    io.Writer
	json bool
}

// show prints v as JSON, or the rows as a table under the head.
func (p *printer) show(v any, head []string, rows [][]any) error {
	if p.json {
		e := json.NewEncoder(p.w)
		e.SetIndent("", "  ")
		return e.Encode(v)
	}
	t := table.NewWriter()
	style := table.StyleLight
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft = ""
	style.Box.PaddingRight = "  "
	t.SetStyle(style)
	header := make(table.Row, len(head))
	for i, h := range head {
		header[i] = h
	}
	t.AppendHeader(header)
	for _, r := range rows {
		shown := make(table.Row, len(r))
		for i, cell := range r {
			shown[i] = cell
			if _, ok := cell.(record.Revision); !ok { // numbers stay numbers, for the table to align
				shown[i] = visible(fmt.Sprint(cell))
			}
		}
		t.AppendRow(shown)
	}
	_, err := fmt.Fprintln(p.w, t.Render())
	return err
}

// fields prints v as JSON, or its fields one a line, leaving out the empty ones.
func (p *printer) fields(v any, pairs ...any) error {
	if p.json {
		return p.show(v, nil, nil)
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		text := visible(fmt.Sprint(pairs[i+1]))
		if text == "" || text == "[]" {
			continue
		}
		if _, err := fmt.Fprintf(p.w, "%-14s%s\n", pairs[i], text); err != nil {
			return err
		}
	}
	return nil
}

// line prints a remark for people.
func (p *printer) line(format string, args ...any) error {
	if p.json {
		return nil
	}
	_, err := fmt.Fprintf(p.w, format+"\n", args...)
	return err
}

// visible shows what a terminal would obey: what others wrote is not to draw lines of its own.
func visible(text string) string {
	if strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return text
	}
	quoted := strconv.QuoteToGraphic(text)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func words[T ~string](list []T) string {
	all := make([]string, len(list))
	for i, w := range list {
		all[i] = string(w)
	}
	return strings.Join(all, " ")
}
