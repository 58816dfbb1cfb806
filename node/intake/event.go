package intake

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"

	json "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"veto/node/httpapi"
	"veto/record"
	"veto/validate"
)

// Event is a message of a stream that asks for a revocation.
type Event struct {
	// Key is the id of the key in whose name it is.
	Key string
	// MessageID is how the publisher names the message, if it does; Place is where in which stream it
	// is. Of the names that an event has the best counts: the id of a CloudEvent, then MessageID,
	// then Place with Stored, when the stream got it: one that is made anew has the same places.
	MessageID, Place string
	Stored           time.Time
	// Body is what POST /v1/revocations takes, or a CloudEvent with that as its data.
	Body []byte
}

// MaxEvent bounds the body of an event, in bytes.
const MaxEvent = 64 << 10

// errPending says that an event was taken and is not in the log yet.
var errPending = &record.Unavailable{Detail: "the log does not have it yet"}

// envelope is what matters of a CloudEvent in JSON. Others of its attributes are its publisher's.
type envelope struct {
	SpecVersion string         `json:"specversion"`
	ID          string         `json:"id"`
	Source      string         `json:"source"`
	Data        jsontext.Value `json:"data"`
}

// ParseEvent reads the body of an event. The name is the event's own, and empty if it is no
// CloudEvent.
func ParseEvent(body []byte) (r RevokeRequest, name string, err error) {
	if len(body) > MaxEvent {
		return r, "", httpapi.TooLarge("an event", MaxEvent)
	}
	if !jsontext.Value(body).IsValid() {
		return r, "", httpapi.NotJSON()
	}
	var e envelope
	if jsontext.Value(body).Kind() != '{' || json.Unmarshal(body, &e) != nil {
		return r, "", record.Invalid("the event is not a JSON object: give what POST /v1/revocations takes, or a CloudEvent in JSON with that as its data")
	}
	if e.SpecVersion == "" {
		r, err = Parse(body)
		return r, "", err
	}
	if e.SpecVersion != "1.0" || e.ID == "" || e.Source == "" || len(e.Data) == 0 {
		return r, "", record.Invalid("the event is not a CloudEvent 1.0 in JSON with an id, a source and data")
	}
	r, err = Parse(e.Data)
	return r, "cloudevent\n" + e.Source + "\n" + e.ID, err
}

// TakeEvent does what the event asks for, once whatever happens: nil when that is in the log. Final tells
// which of its errors will be the same however often it is tried.
func (x *Intake) TakeEvent(ctx context.Context, e Event, wait time.Duration) error {
	by, err := x.Authority(e.Key)
	if err != nil {
		return err
	}
	r, name, err := ParseEvent(e.Body)
	if err != nil {
		return err
	}
	switch {
	case name != "":
	case e.MessageID != "":
		name = "message\n" + e.MessageID
	default:
		name = "place\n" + e.Place + "\n" + strconv.FormatInt(e.Stored.UnixNano(), 10)
	}
	// A name may be longer than what the log takes, and hold anything.
	sum := sha256.Sum256([]byte(name))
	_, a, err := x.Take(ctx, by, r, "event-"+hex.EncodeToString(sum[:]), record.Origin{Way: record.WayJetStream, Address: e.Place}, wait)
	if err == nil && a.Revision == 0 {
		return errPending
	}
	return err
}

// keyTries is how often an event is tried whose token names a signing key that is not here: for the minute
// or so that it takes to fetch the issuer's keys once more.
const keyTries = 8

// Final tells whether an error of TakeEvent, which came at the try of that number, will be the same however
// often it is tried, and how it is told.
func Final(err error, tries uint64) (code, detail string, final bool) {
	p, known := httpapi.ProblemOf(err)
	final = known && p.Status >= http.StatusBadRequest && p.Status < http.StatusInternalServerError
	final = final && (tries >= keyTries || !hasCode(err, validate.UnknownSigningKey))
	return p.Code, strings.TrimSpace(p.Detail), final
}
