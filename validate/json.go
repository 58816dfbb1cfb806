package validate

import (
	"strconv"
	"time"
	"unicode/utf8"
)

// JSON is a JSON text that many share, and nobody changes.
type JSON string

// MarshalJSON gives the text.
func (j JSON) MarshalJSON() ([]byte, error) {
	if j == "" {
		return []byte("null"), nil
	}
	return []byte(j), nil
}

// UnmarshalJSON takes a copy of the text.
func (j *JSON) UnmarshalJSON(b []byte) error {
	*j = JSON(b)
	return nil
}

// AppendJSON appends the verdict as JSON. Claims and metadata are put in as they are: both were
// read as JSON before.
func (d *Verdict) AppendJSON(b []byte) []byte {
	b = append(b, `{"outcome":"`...)
	b = append(b, d.Outcome.String()...)
	b = append(b, `","code":"`...)
	b = append(b, d.Code...)
	b = append(b, '"')
	b = appendField(b, `,"kind":`, string(d.Kind))
	b = appendField(b, `,"issuer":`, d.Issuer)
	b = appendField(b, `,"subject":`, d.Subject)
	b = appendField(b, `,"client":`, d.Client)
	b = appendField(b, `,"consumer":`, d.Consumer)
	b = appendField(b, `,"key_id":`, d.KeyID)
	if d.Rotating {
		b = append(b, `,"rotating":true`...)
	}
	b = appendTexts(b, `,"scopes":`, d.Scopes)
	if d.Claims != "" {
		b = append(append(b, `,"claims":`...), d.Claims...)
	}
	if len(d.Metadata) > 0 {
		b = append(append(b, `,"metadata":`...), d.Metadata...)
	}
	b = appendTime(b, `,"expires_at":`, d.ExpiresAt)
	b = appendTexts(b, `,"missing_scopes":`, d.MissingScopes)
	b = appendUse(b, d.RateLimit, d.Quota)
	b = append(b, `,"revision":`...)
	b = strconv.AppendUint(b, uint64(d.Revision), 10)
	b = appendTime(b, `,"as_of":`, d.AsOf)
	if r := d.Revocation; r != nil {
		b = appendField(append(b, `,"revocation":{"id":`...), "", r.ID)
		b = appendField(b, `,"target":`, r.Target.String())
		b = appendField(b, `,"reason":`, r.Reason)
		if r.Revision > 0 {
			b = append(b, `,"revision":`...)
			b = strconv.AppendUint(b, uint64(r.Revision), 10)
		}
		b = append(b, '}')
	}
	if len(d.Checks) > 0 {
		b = append(b, `,"checks":[`...)
		for i, c := range d.Checks {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendField(append(b, '{'), `"check":`, c.Check)
			b = appendField(b, `,"result":`, c.Result)
			b = appendField(b, `,"code":`, string(c.Code))
			b = append(appendField(b, `,"detail":`, c.Detail), '}')
		}
		b = append(b, ']')
	}
	return append(b, '}')
}

func appendField(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	return appendText(append(b, name...), value)
}

func appendTexts(b []byte, name string, values []string) []byte {
	if len(values) == 0 {
		return b
	}
	b = append(append(b, name...), '[')
	for i, s := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(b, s)
	}
	return append(b, ']')
}

func appendTime(b []byte, name string, t time.Time) []byte {
	if t.IsZero() {
		return b
	}
	b = append(append(b, name...), '"')
	return append(t.AppendFormat(b, time.RFC3339Nano), '"')
}

const hexDigits = "0123456789abcdef"

// appendText appends a JSON string (RFC 8259 section 7).
func appendText(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			if r, size := utf8.DecodeRuneInString(s[i:]); r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
			b = append(append(b, s[start:i]...), "\ufffd"...)
			i++
			start = i
			continue
		}
		b = append(b, s[start:i]...)
		if c == '"' || c == '\\' {
			b = append(b, '\\', c)
		} else {
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	return append(append(b, s[start:]...), '"')
}
