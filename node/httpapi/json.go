package httpapi

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	json "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"

	"veto/record"
)

// ReadJSON refuses what two readers could understand differently: a member that is not known or there twice, also if
// only the case of its letters differs, text that is not UTF-8, and a time that is not as RFC 3339 section 5.6 has it.
// What is no JSON is a *Problem; what does not fit is a *FieldError, which repeats no value.
func ReadJSON(text []byte, into any) error {
	err := json.Unmarshal(text, into, jsonv1.DefaultOptionsV1(), jsontext.AllowDuplicateNames(false), jsontext.AllowInvalidUTF8(false),
		json.MatchCaseInsensitiveNames(false), json.RejectUnknownMembers(true), jsonv1.ParseTimeWithLooseRFC3339(false), jsonv1.ReportErrorsWithLegacySemantics(false))
	if err == nil {
		return nil
	}
	var wrong *json.SemanticError
	if !errors.As(err, &wrong) {
		return NotJSON()
	}
	unknown := errors.Is(wrong, json.ErrUnknownName)
	out := &FieldError{Location: memberAt(wrong.JSONPointer, unknown), Message: expected(wrong)}
	if unknown {
		out.Message = "unexpected property"
	}
	return out
}

// expected is what a member should be, in the words of the control plane's library, which finds most of this first.
func expected(wrong *json.SemanticError) string {
	t := wrong.GoType
	isText := t != nil && reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
	switch {
	case errors.Is(wrong, strconv.ErrRange):
		return "number is too large"
	case t == nil:
	case isText && wrong.JSONKind != jsontext.KindString, t.Kind() == reflect.String:
		return "expected string"
	case t == reflect.TypeFor[time.Time]():
		return "expected string to be RFC 3339 date-time"
	case t == reflect.TypeFor[record.Target]():
		return fmt.Sprintf("expected value to be one of %q", strings.Join(record.TargetNames(), ", "))
	case isText:
	case t.Kind() >= reflect.Int && t.Kind() <= reflect.Uint64:
		return "expected integer"
	case t.Kind() == reflect.Bool:
		return "expected boolean"
	case t.Kind() == reflect.Slice:
		return "expected array"
	case t.Kind() == reflect.Struct, t.Kind() == reflect.Map:
		return "expected object"
	}
	return "is not as GET /openapi.json has it"
}

// memberAt writes a JSON pointer as and[0].target; empty if that may not be repeated. The last of a member that is
// not known is its name, and no place in a list.
func memberAt(p jsontext.Pointer, unknown bool) string {
	tokens := slices.Collect(p.Tokens())
	at := ""
	for i, t := range tokens {
		_, err := strconv.ParseUint(t, 10, 31)
		switch {
		case err == nil && !(unknown && i == len(tokens)-1):
			at += "[" + t + "]"
		case i > 0:
			at += "." + t
		default:
			at = t
		}
	}
	if !IsFieldName(at) {
		return ""
	}
	return at
}
