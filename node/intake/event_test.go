package intake_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"veto/node/httpapi"
	"veto/node/intake"
	"veto/record"
	"veto/validate"
)

func cloudEvent(source, id, data string) string {
	return fmt.Sprintf(`{"specversion":"1.0","source":%q,"id":%q,"type":"x","other":{"a":[1]},"data":%s}`, source, id, data)
}

// I5
func TestEventsHaveNames(t *testing.T) {
	x, c := open(t)
	name := func(e intake.Event) string {
		t.Helper()
		c.taken = nil
		e.Key = "key_good"
		if err := x.TakeEvent(t.Context(), e, time.Second); err != nil || len(c.taken) != 1 || len(c.taken[0].Request.Key) > 255 {
			t.Fatalf("%+v: %v %+v", e, err, c.taken)
		}
		return c.taken[0].Request.Key
	}
	long := strings.Repeat("é", 1000)
	names := map[string]string{}
	for what, e := range map[string]intake.Event{
		"a cloud event":        {Body: []byte(cloudEvent("/a", "1", good)), MessageID: "m", Place: "S/1"},
		"of another source":    {Body: []byte(cloudEvent("/b", "1", good)), MessageID: "m", Place: "S/1"},
		"with another id":      {Body: []byte(cloudEvent("/a", "2", good)), MessageID: "m", Place: "S/1"},
		"with a long id":       {Body: []byte(cloudEvent("/a", long, good))},
		"a message":            {Body: []byte(good), MessageID: "m", Place: "S/1"},
		"another":              {Body: []byte(good), MessageID: "n", Place: "S/1"},
		"without a name":       {Body: []byte(good), Place: "S/1"},
		"one behind it":        {Body: []byte(good), Place: "S/2"},
		"of a stream anew":     {Body: []byte(good), Place: "S/1", Stored: time.Unix(1, 0)},
		"named as one's place": {Body: []byte(good), MessageID: "S/1", Place: "S/3"},
	} {
		n := name(e)
		if other, ok := names[n]; ok {
			t.Errorf("%s has the name of: %s", what, other)
		}
		names[n] = what
	}
	again := intake.Event{Body: []byte(cloudEvent("/a", "1", good)), MessageID: "other", Place: "S/9"}
	if names[name(again)] != "a cloud event" {
		t.Error("a cloud event that comes again has another name")
	}
}

// I5
func TestEventsThatAreRefused(t *testing.T) {
	x, c := open(t)
	for _, bad := range []string{
		``, `x`, `[]`, `{"specversion":"0.3","id":"1","source":"/a","data":` + good + `}`, `{"specversion":"1.0","source":"/a","data":` + good + `}`,
		`{"specversion":"1.0","id":"1","source":"/a"}`, cloudEvent("/a", "1", `"text"`), cloudEvent("/a", "1", `{"targets":1}`), cloudEvent("/a", "1", `{"target":"jti"}`),
		`{"specversion":"1.0","id":"1","id":"2","source":"/a","data":` + good + `}`, `{"target":"jti","extra":1}`, strings.Repeat(" ", intake.MaxEvent) + good,
	} {
		err := x.TakeEvent(t.Context(), intake.Event{Key: "key_good", Place: "S/1", Body: []byte(bad)}, time.Second)
		if code, detail, final := intake.Final(err, 1); !final || code == "" || detail == "" {
			t.Errorf("%.60q: %v", bad, err)
		}
	}
	if err := x.TakeEvent(t.Context(), intake.Event{Key: "key_bound", Body: []byte(strings.ReplaceAll(good, ours, theirs))}, time.Second); err == nil {
		t.Error("a bound key has taken what is another's")
	}
	if len(c.taken) != 0 {
		t.Errorf("%+v", c.taken)
	}
	for _, row := range []struct {
		err   error
		final bool
	}{
		{record.Invalid("x"), true},
		{record.NotFound("x"), true},
		{httpapi.New(http.StatusForbidden, "forbidden", "x"), true},
		{&record.Unavailable{}, false},
		{record.ErrOutcomeUnknown, false},
		{errors.New("disk"), false},
	} {
		c.fail = row.err
		err := x.TakeEvent(t.Context(), intake.Event{Key: "key_good", Body: []byte(good)}, time.Second)
		if _, _, final := intake.Final(err, 1); final != row.final || !errors.Is(err, row.err) {
			t.Errorf("%v: final %v", err, final)
		}
	}
	c.fail, c.pending = nil, true
	if err := x.TakeEvent(t.Context(), intake.Event{Key: "key_good", Body: []byte(good)}, time.Second); err == nil {
		t.Error("what the log does not have is told as done")
	}
}

// I5
func TestEventWaitsForItsSigningKey(t *testing.T) {
	x, _ := open(t)
	body := `{"token":"unknown key of ` + ours + `"}`
	err := x.TakeEvent(t.Context(), intake.Event{Key: "key_good", Body: []byte(body)}, time.Millisecond)
	if _, _, final := intake.Final(err, 1); err == nil || final {
		t.Errorf("%v will be so for ever", err)
	}
	if code, _, final := intake.Final(err, 8); code != string(validate.UnknownSigningKey) || !final {
		t.Errorf("%v comes for ever", err)
	}
}

// I5
func FuzzParseEvent(f *testing.F) {
	for _, seed := range []string{good, cloudEvent("/a", "1", good), `{"specversion":"1.0"}`, `{`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r, _, err := intake.ParseEvent(text)
		if err != nil {
			if _, _, final := intake.Final(err, 1); !final {
				t.Errorf("%v would come again for ever", err)
			}
			return
		}
		if _, err := intake.RequestOf("k", r, record.KindRevoke); err != nil {
			t.Error(err)
		}
	})
}
