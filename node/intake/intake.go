package intake

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"veto/node/httpapi"
	"veto/record"
	"veto/validate"
)

// Taker takes revocations: with or without a leader, and answers what came of each within the wait.
type Taker interface {
	Revoke(ctx context.Context, t record.Taken, wait time.Duration) (record.Accepted, error)
}

// Tokens verifies a token that is presented to be revoked.
type Tokens interface {
	Inspect(token string, now time.Time) (*validate.Claims, validate.Code)
}

// Revocations reads revocations.
type Revocations interface {
	RevocationID(n record.Name) string
	// Stands is what the log has of what was accepted, or of what was asked for before; told is false
	// if that cannot be told by the end of the context.
	Stands(ctx context.Context, r record.Revocation, a record.Accepted) (now record.Revocation, told bool, err error)
}

// Keys reads API keys, and whether one is revoked.
type Keys interface {
	Key(id string) (record.APIKey, bool, error)
	Revoked(n record.Name, issuedAt int64) (record.Revocation, bool)
}

// State tells how far the state reaches that this node reads, and waits until it reaches further.
type State interface {
	Freshness() record.Freshness
	AwaitRevision(ctx context.Context, r record.Revision) error
}

// Owners tells whose an API key is.
type Owners interface {
	Key(id string) (record.APIKey, bool, error)
}

// Cluster tells on which nodes something is enforced.
type Cluster interface {
	EnforcedOn(ctx context.Context, a record.Accepted, all bool) (on, pending []string)
}

// Config is what an Intake is made of.
type Config struct {
	Taker       Taker
	Tokens      Tokens
	Revocations Revocations
	Keys        Keys // for Authority alone
	State       State
	Owners      Owners
	Cluster     Cluster
	NodeID      string
	Now         func() time.Time
}

// Intake takes revocations in. It may be used from anywhere at once.
type Intake struct{ Config }

// New makes an Intake.
func New(c Config) *Intake { return &Intake{c} }

// Take revokes what the key asks for, and tells which revocation that is. The request key is the caller's
// Idempotency-Key, or empty; from is the way by which it came. What is not committed within the wait is on its way.
// It blocks for as long, of which half at most for the signing key of a token that is presented.
func (x *Intake) Take(ctx context.Context, by *record.APIKey, b RevokeRequest, requestKey string, from record.Origin, wait time.Duration) (r record.Revocation, a record.Accepted, err error) {
	until := x.Now().Add(wait)
	r, err = x.awaitNamed(ctx, by, b, wait/2)
	wait = until.Sub(x.Now())
	if err != nil {
		return r, a, err
	}
	request, err := RequestOf(requestKey, b, record.KindRevoke)
	if err != nil {
		return r, a, err
	}
	a, err = x.Taker.Revoke(ctx, record.Taken{Revocation: r, By: by.ID, From: from, Request: request}, wait)
	return r, a, err
}

// awaitNamed is Named for a token that may be signed with a key that its issuer has just published: that
// it names it has the key fetched.
func (x *Intake) awaitNamed(ctx context.Context, by *record.APIKey, b RevokeRequest, wait time.Duration) (record.Revocation, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	var r record.Revocation
	err := x.awaitOther(ctx, validate.UnknownSigningKey, func() (err error) {
		r, err = x.Named(by, b)
		return err
	})
	return r, err
}

// awaitOther calls f until it returns something other than a problem with the code, or the context ends: again
// at each revision, as what was lacking may have come with it.
func (x *Intake) awaitOther(ctx context.Context, code validate.Code, f func() error) error {
	for {
		seen := x.State.Freshness().Revision
		err := f()
		if !hasCode(err, code) || x.State.AwaitRevision(ctx, seen+1) != nil {
			return err
		}
	}
}

func hasCode(err error, code validate.Code) bool {
	var problem *httpapi.Problem
	return errors.As(err, &problem) && problem.Code == string(code)
}

// CheckRequestKey refuses what cannot be an Idempotency-Key.
func CheckRequestKey(key string) error {
	if len(key) > record.MaxRequestKey {
		return record.Invalid("%s: at most %d bytes", requestKeyName, record.MaxRequestKey)
	}
	if IsCredential(key) {
		return record.Invalid("%s: holds a credential, which would be kept", requestKeyName)
	}
	return nil
}

// RequestOf sums up what was asked for, so that the same key for something else is noticed.
func RequestOf(key string, asked any, kind record.Kind) (record.Request, error) {
	if err := CheckRequestKey(key); err != nil || key == "" {
		return record.Request{}, err
	}
	what, err := json.Marshal(asked)
	if err != nil {
		return record.Request{}, err
	}
	return record.Request{Key: key, Sum: sha256.Sum256(append([]byte(kind.String()+"\n"), what...))}, nil
}

// Receipt says what is so of what was taken, by the end of the context.
func (x *Intake) Receipt(ctx context.Context, r record.Revocation, a record.Accepted, all bool) (record.Receipt, error) {
	now, told, err := x.Revocations.Stands(ctx, r, a)
	if err != nil {
		return record.Receipt{}, err
	}
	on, pending := x.Cluster.EnforcedOn(ctx, a, all)
	out := record.Receipt{ID: x.Revocations.RevocationID(r.Name), State: record.StatePending, EnforcedOn: on, PendingOn: pending}
	if told {
		out.State, out.Revision, out.NotBefore, out.KeptUntil = record.StateCommitted, now.Revision, now.NotBefore, now.KeptUntil
	} else {
		out.DurableOn = []string{x.NodeID}
	}
	return out, nil
}

// Authority is the key with the id, if it may revoke now by the state as this node has it. It is for
// ways by which no key comes along. A denial too many can be lifted, so it asks for no fresh state.
func (x *Intake) Authority(id string) (*record.APIKey, error) {
	k, ok, err := x.Keys.Key(id)
	if err != nil {
		return nil, err
	}
	refused := func(status int, code validate.Code) (*record.APIKey, error) {
		return nil, httpapi.New(status, string(code), "this is no operator's API key that may revoke now")
	}
	_, revoked := x.Keys.Revoked(record.Name{Target: record.TargetKey, Value: id}, record.NoIssuedAt)
	switch {
	case !ok:
		return refused(http.StatusUnauthorized, validate.KeyNotFound)
	case revoked:
		return refused(http.StatusUnauthorized, validate.Revoked)
	case k.Disabled:
		return refused(http.StatusUnauthorized, validate.KeyDisabled)
	case !k.ExpiresAt.IsZero() && !x.Now().Before(k.ExpiresAt):
		return refused(http.StatusUnauthorized, validate.KeyExpired)
	case !k.HasRole(record.RoleRevoker):
		return refused(http.StatusForbidden, "forbidden")
	}
	return &k, nil
}

// lagLimit is how long a key that is not known here is waited for.
const lagLimit = time.Second

// awaitAuthority is Authority for a client that another node let in: that may be ahead of this one.
func (x *Intake) awaitAuthority(ctx context.Context, id string) (*record.APIKey, error) {
	ctx, cancel := context.WithTimeout(ctx, lagLimit)
	defer cancel()
	var by *record.APIKey
	err := x.awaitOther(ctx, validate.KeyNotFound, func() (err error) {
		by, err = x.Authority(id)
		return err
	})
	return by, err
}

// Answer does what a message of the key with the id asks for, and is the receipt or the problem, in
// JSON. Unknown is the error, if it is none that is meant for whoever asks.
func (x *Intake) Answer(ctx context.Context, keyID string, body []byte, requestKey string, from record.Origin, wait time.Duration) (answer []byte, unknown error) {
	receipt, err := x.answer(ctx, keyID, body, requestKey, from, wait)
	if err == nil {
		answer, err = json.Marshal(receipt)
	}
	if err == nil {
		return answer, nil
	}
	problem, known := httpapi.ProblemOf(err)
	if !known {
		unknown = err
	}
	answer, err = json.Marshal(problem)
	if unknown == nil {
		unknown = err
	}
	return answer, unknown
}

func (x *Intake) answer(ctx context.Context, keyID string, body []byte, requestKey string, from record.Origin, wait time.Duration) (record.Receipt, error) {
	by, err := x.awaitAuthority(ctx, keyID)
	if err != nil {
		return record.Receipt{}, err
	}
	b, err := Parse(body)
	if err != nil {
		return record.Receipt{}, err
	}
	until := x.Now().Add(wait)
	r, a, err := x.Take(ctx, by, b, requestKey, from, wait)
	if err != nil {
		return record.Receipt{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, until.Sub(x.Now()))
	defer cancel()
	return x.Receipt(ctx, r, a, false)
}
