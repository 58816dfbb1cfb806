package leaked

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"strings"
	"time"

	"veto/node/httpapi/leaks"
	"veto/node/intake"
	"veto/record"
)

// wait is how long it may take to do something about a report.
const wait = 10 * time.Second

// Changer changes the state.
type Changer interface {
	// Propose blocks until the command is committed and in force on this node, or refused.
	Propose(ctx context.Context, c record.Command) (record.Result, error)
	// Revoke takes a revocation, with or without a leader, and answers what came of it within the wait.
	Revoke(ctx context.Context, t record.Taken, wait time.Duration) (record.Accepted, error)
}

// Records reads what there is.
type Records interface {
	// SessionBySecret finds the portal session of a secret, by the SHA-256 of that; it may have expired.
	SessionBySecret(sum record.KeyHash) (record.PortalSession, bool, error)
	RevocationID(n record.Name) string
	Revocation(d record.Digest) (record.Standing, bool, error)
}

// Config is what Desk needs.
type Config struct {
	Changer Changer
	Records Records
	// FindKey finds the API key of a secret, and tells whether another has replaced it.
	FindKey func(secret string) (k *record.APIKey, old, ok bool)
	// Mark marks keys; otherwise they are revoked.
	Mark bool
	Now  func() time.Time
	Log  *slog.Logger
}

// Desk takes reports. It may be used from anywhere at once.
type Desk struct{ Config }

// New makes one.
func New(c Config) *Desk { return &Desk{c} }

// What was done about a secret.
const (
	Revoked = "revoked" // the API key: now, or before
	Marked  = "marked"  // the API key goes on, and is shown as one that has leaked
	Ended   = "ended"   // the portal session
)

// Outcome is what is known of a secret, and what was done.
type Outcome struct {
	// Known is whether it is, or was, somebody's.
	Known bool
	// Done is one of the words above; empty if nothing needed to be.
	Done string
}

// Reporter is who tells: an operator's key, or nil for GitHub, and the way by which the report came.
type Reporter struct {
	Key  *record.APIKey
	From record.Origin
}

func (r Reporter) id() string {
	if r.Key == nil {
		return record.LeakGitHub
	}
	return r.Key.ID
}

// may tells whether what has the name may be revoked by who tells.
func (r Reporter) may(n record.Name, owner string) bool {
	return r.Key == nil || r.Key.MayRevoke(n, owner)
}

// leak is what is to be done about what was found in some items of a report.
type leak struct {
	items   []int
	key     record.LeakedKey // its ID is empty of a session
	session record.PortalSession
	done    string
}

// Take looks up every secret of a report before it does anything: what is nobody's takes as long as what is
// somebody's. What it says is in the order of the items. With an error, some of it may be done.
func (d *Desk) Take(ctx context.Context, by Reporter, found []leaks.Found) ([]Outcome, error) {
	out := make([]Outcome, len(found))
	var all []*leak
	seen := map[string]*leak{}
	for n := range found {
		id, l, err := d.look(by, &found[n])
		if err != nil {
			return nil, err
		}
		out[n].Known = id != ""
		if l == nil {
			continue
		}
		if seen[id] == nil {
			seen[id], all = l, append(all, l)
		}
		seen[id].items = append(seen[id].items, n)
	}
	err := d.act(ctx, by, all)
	for _, l := range all {
		for _, n := range l.items {
			out[n].Done = l.done
		}
	}
	return out, err
}

// look finds whose a secret is, by its id, and what is to be done about it: nothing about one whose time is over.
func (d *Desk) look(by Reporter, f *leaks.Found) (id string, l *leak, err error) {
	if k, old, ok := d.FindKey(f.Token); ok {
		if !by.may(record.Name{Target: record.TargetKey, Value: k.ID}, k.Consumer) {
			return "", nil, nil
		}
		if old && !k.IsRotating(d.Now()) {
			return k.ID, nil, nil
		}
		return k.ID, &leak{key: record.LeakedKey{ID: k.ID, Where: whereOf(f)}}, nil
	}
	s, ok, err := d.Records.SessionBySecret(sha256.Sum256([]byte(f.Token)))
	if err != nil || !ok || !by.may(record.Name{Target: record.TargetConsumer, Value: s.Consumer}, s.Consumer) {
		return "", nil, err
	}
	if !d.Now().Before(s.ExpiresAt) {
		return s.ID, nil, nil
	}
	return s.ID, &leak{session: s}, nil
}

// whereOf is the address of what was found, unless it holds a secret itself.
func whereOf(f *leaks.Found) string {
	if where := f.Where(); !intake.IsCredential(where) && !strings.Contains(where, f.Token) {
		return where
	}
	return ""
}

// act revokes first, which needs no leader. What cannot be done about one keeps nothing of the others back.
func (d *Desk) act(ctx context.Context, by Reporter, all []*leak) error {
	var mark []*leak
	var failed error
	until := d.Now().Add(wait)
	for _, l := range all {
		if l.key.ID == "" {
			continue
		}
		revoked := false
		if !d.Mark {
			var err error
			if revoked, err = d.revoke(ctx, by, l.key, until.Sub(d.Now())); err != nil {
				failed = errors.Join(failed, err)
				continue
			}
		}
		if revoked {
			l.done = Revoked
		} else {
			mark = append(mark, l)
		}
	}
	return errors.Join(failed, d.mark(ctx, by, mark), d.end(ctx, by, all))
}

// revoke tells whether the key is revoked. It is not if the cluster would be without an admin: then it is
// marked, as whoever finds the key should not be able to lock the operators out by telling of it.
func (d *Desk) revoke(ctx context.Context, by Reporter, k record.LeakedKey, wait time.Duration) (bool, error) {
	r := record.Revocation{Name: record.Name{Target: record.TargetKey, Value: k.ID}, Reason: "leaked: reported by " + by.id()}
	if k.Where != "" {
		r.Reason += ", found at " + k.Where
	}
	if denied, err := d.isDenied(r.Name); err != nil || denied {
		return denied, err
	}
	_, err := d.Changer.Revoke(ctx, record.Taken{Revocation: r, By: by.id(), From: by.From}, wait)
	var rejected *record.Rejection
	if errors.As(err, &rejected) {
		d.Log.Error("an API key is known to have leaked, and goes on, as it cannot be revoked", "key", k.ID, "why", rejected.Detail)
		return false, nil
	}
	return err == nil, err
}

// isDenied tells whether a revocation denies all that bears the name, whenever it was made.
func (d *Desk) isDenied(n record.Name) (bool, error) {
	digest, err := record.ParseRevocationID(d.Records.RevocationID(n))
	if err != nil {
		return false, err
	}
	now, ok, err := d.Records.Revocation(digest)
	return ok && now.Revocation.Cutoff() == record.DeniesAll, err
}

// mark marks keys in one command; those that are marked stay as they are.
func (d *Desk) mark(ctx context.Context, by Reporter, all []*leak) error {
	if len(all) == 0 {
		return nil
	}
	var keys []record.LeakedKey
	for _, l := range all {
		keys = append(keys, l.key)
	}
	if _, err := d.Changer.Propose(ctx, record.Command{By: by.id(), From: by.From, Body: record.MarkLeaked{Keys: keys}}); err != nil {
		return err
	}
	for _, l := range all {
		l.done = Marked
	}
	return nil
}

// end ends portal sessions, also where keys are marked: another is opened in a moment.
func (d *Desk) end(ctx context.Context, by Reporter, all []*leak) (failed error) {
	for _, l := range all {
		if l.key.ID != "" {
			continue
		}
		_, err := d.Changer.Propose(ctx, record.Command{By: by.id(), From: by.From, Body: record.EndSession{Consumer: l.session.Consumer, ID: l.session.ID}})
		var rejected *record.Rejection
		if err != nil && (!errors.As(err, &rejected) || rejected.Reason != record.ReasonNotFound) { // or it was ended meanwhile
			failed = errors.Join(failed, err)
			continue
		}
		l.done = Ended
	}
	return failed
}
