package trail

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"veto/record"
)

// Export is the first line of an export; an entry is on each of the others.
type Export struct {
	Format  int    `json:"veto_audit"`
	Cluster string `json:"cluster"`
	// Head is that of the node which exports, when it began: all up to it follow. Empty if the
	// chain has not begun.
	Head string `json:"head,omitempty"`
	// After is the last entry that was removed, as it was older than entries are kept; nil if none was.
	After *Head `json:"after,omitempty"`
	// Filter is how the entries were chosen; empty if all are there. A chosen part is no chain.
	Filter string `json:"filter,omitempty"`
}

const (
	exportFormat = 1
	perPage      = 1000
	longestLine  = 1 << 20 // in bytes; what an entry may hold is less
)

// Filter chooses entries. Its zero value chooses all.
type Filter struct {
	// By is the id of a key, or the name that it had; record.WayCluster stands for the cluster.
	By     string
	Action string
	Ref    string
	Since  time.Time
	Until  time.Time // exclusive
}

// Keep tells whether the entry is chosen.
func (f Filter) Keep(e *Entry) bool {
	by := f.By == "" || f.By == e.By || e.By != "" && (f.By == e.ByName || f.By == e.From.Person.Subject) || e.By == "" && f.By == record.WayCluster
	return by && (f.Action == "" || f.Action == e.Action) && (f.Ref == "" || slices.Contains(e.Refs, f.Ref)) &&
		!e.At.Before(f.Since) && (f.Until.IsZero() || e.At.Before(f.Until))
}

// String says how it chooses; empty if it does not.
func (f Filter) String() string {
	var parts []string
	add := func(name, value string) {
		if value != "" {
			parts = append(parts, name+"="+value)
		}
	}
	add("by", f.By)
	add("action", f.Action)
	add("ref", f.Ref)
	if !f.Since.IsZero() {
		add("since", f.Since.UTC().Format(time.RFC3339Nano))
	}
	if !f.Until.IsZero() {
		add("until", f.Until.UTC().Format(time.RFC3339Nano))
	}
	return strings.Join(parts, " ")
}

// errCut is why there is no export now.
var errCut = errors.New("older entries of the audit trail were removed meanwhile")

// Source is where entries come from.
type Source interface {
	// Audit lists the entries behind one.
	Audit(after Entry, limit int) ([]Entry, error)
	// AuditAnchor is the last entry that was removed, as it was older than entries are kept; zero if none was.
	AuditAnchor() (Head, error)
	// AuditHead is the last entry of the chain; zero if that has not begun.
	AuditHead() (Head, error)
}

// Write writes what there is, page by page, up to the head as it is now. If older entries are removed before the first page
// was read, it writes nothing and fails.
func Write(w io.Writer, cluster string, f Filter, from Source) error {
	anchor, err := from.AuditAnchor()
	if err != nil {
		return err
	}
	head, err := from.AuditHead()
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(w, 64<<10)
	x := Export{Format: exportFormat, Cluster: cluster, Filter: f.String()}
	if head.Sequence > 0 {
		x.Head = head.String()
	}
	if anchor.Sequence > 0 {
		x.After = &anchor
	}
	encode := json.NewEncoder(out)
	encode.SetEscapeHTML(false)
	if err := encode.Encode(x); err != nil {
		return err
	}
	page, err := from.Audit(Entry{}, perPage)
	if err != nil {
		return err
	}
	if now, err := from.AuditAnchor(); err != nil || now != anchor {
		return errors.Join(err, errCut)
	}
	for {
		for i := range page {
			if head.Sequence > 0 && page[i].Sequence > head.Sequence {
				return out.Flush()
			}
			if !f.Keep(&page[i]) {
				continue
			}
			if err := encode.Encode(page[i]); err != nil {
				return err
			}
		}
		if len(page) < perPage {
			return out.Flush()
		}
		if page, err = from.Audit(page[len(page)-1], perPage); err != nil {
			return err
		}
	}
}

// Report is what Verify found.
type Report struct {
	Cluster string `json:"cluster"`
	// Head is the last entry.
	Head string `json:"head"`
	// Entries are those of the chain, which began at the revision Began; Before are those from
	// before, which it says nothing of.
	Entries uint64          `json:"entries"`
	Began   record.Revision `json:"began"`
	Before  uint64          `json:"before"`
	// After is the last entry that was removed, and Removed how many were, as they were older than they are kept:
	// the chain is followed from there on. Empty if none was.
	After   string `json:"after,omitempty"`
	Removed uint64 `json:"removed,omitempty"`
}

// Verify reads an export to its end, and is a *Broken if it is not a whole chain, or does not come by
// the heads that were written down. It keeps no more than one line.
func Verify(r io.Reader, heads ...Head) (Report, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), longestLine)
	number := 0
	next := func() bool { number++; return lines.Scan() }
	var x Export
	if !next() || readStrictly(lines.Bytes(), &x) != nil || x.Format != exportFormat {
		return Report{}, errors.Join(lines.Err(), &Broken{Line: 1, Why: "this is not the beginning of an export of `veto audit export`"})
	}
	if x.Filter != "" {
		return Report{}, &Broken{Line: 1, Why: fmt.Sprintf("these are chosen entries (%s), which cannot be verified as a chain: export all, without a filter", x.Filter)}
	}
	c := Chain{}
	if x.After != nil {
		if x.After.Sequence == 0 {
			return Report{}, &Broken{Line: 1, Why: "what was removed has no last entry"}
		}
		c.After(*x.After)
	}
	for _, h := range heads {
		c.Expect(h)
	}
	if x.Head != "" {
		h, err := ParseHead(x.Head)
		if err != nil {
			return Report{}, &Broken{Line: 1, Why: err.Error()}
		}
		c.Expect(h)
	}
	for next() {
		var e Entry
		if err := readStrictly(lines.Bytes(), &e); err != nil {
			return Report{}, &Broken{Line: number, Entry: placeOf(&e), Why: err.Error()}
		}
		var broken *Broken
		if err := c.Add(e); errors.As(err, &broken) {
			broken.Line = number
			return Report{}, broken
		}
	}
	if err := lines.Err(); err != nil {
		return Report{}, fmt.Errorf("after line %d: %w", number-1, err)
	}
	if err := c.Close(); err != nil {
		return Report{}, err
	}
	if c.Head.Sequence == 0 {
		return Report{}, &Broken{Why: fmt.Sprintf("none of the %d entries is chained, so nothing can be verified", c.Before)}
	}
	out := Report{Cluster: x.Cluster, Entries: c.Head.Sequence - c.anchor.Sequence, Began: c.began, Before: c.Before, Head: c.Head.String()}
	if x.After != nil {
		out.After, out.Removed = x.After.String(), x.After.Sequence
	}
	return out, nil
}

func placeOf(e *Entry) string {
	if e.Revision == 0 {
		return ""
	}
	return e.Place()
}

var errNotAsExported = errors.New("is not as it was exported: it was altered, or a newer version of veto has made it")

// readStrictly takes only the very bytes that Write gives: what two readers could read differently
// is not what was hashed.
func readStrictly(line []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return errNotAsExported
	}
	var again bytes.Buffer
	encode := json.NewEncoder(&again)
	encode.SetEscapeHTML(false)
	if err := encode.Encode(into); err != nil || !bytes.Equal(bytes.TrimSuffix(again.Bytes(), []byte("\n")), line) {
		return errNotAsExported
	}
	return nil
}
