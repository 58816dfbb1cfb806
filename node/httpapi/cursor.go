package httpapi

import (
	"crypto/subtle"
	"encoding/base64"
	"net/http"
)

// Sealer authenticates a text for a purpose, with a secret that all nodes of a cluster have and nobody
// else.
type Sealer interface {
	Seal(purpose, text string) [16]byte
}

// maxCursor bounds a cursor, in bytes.
const maxCursor = 256

// Cursor is the place in a list where the next page begins, in a form that only that list takes; empty
// for no place.
func Cursor(s Sealer, list, place string) string {
	if place == "" {
		return ""
	}
	seal := s.Seal("cursor of "+list, place)
	return base64.RawURLEncoding.EncodeToString(append(seal[:], place...))
}

// Place is the reverse of Cursor. One that this list, in this cluster, did not give is a *Problem.
func Place(s Sealer, list, cursor string) (string, error) {
	if cursor == "" {
		return "", nil
	}
	if len(cursor) <= maxCursor {
		b, err := base64.RawURLEncoding.DecodeString(cursor)
		if err == nil && len(b) > 16 && base64.RawURLEncoding.EncodeToString(b) == cursor {
			place := string(b[16:])
			if seal := s.Seal("cursor of "+list, place); subtle.ConstantTimeCompare(seal[:], b[:16]) == 1 {
				return place, nil
			}
		}
	}
	return "", New(http.StatusBadRequest, "bad_cursor", "cursor: is none that this list gave, in this cluster and with this filter; begin again without one")
}
