package record

import "github.com/fxamacker/cbor/v2"

type rawMessage = cbor.RawMessage

// The codec's settings are fixed, so building them cannot fail at run time.
var (
	encoder = must(cbor.EncOptions{
		Sort: cbor.SortCoreDeterministic, ShortestFloat: cbor.ShortestFloat16,
		NaNConvert: cbor.NaNConvert7e00, InfConvert: cbor.InfConvertFloat16,
		IndefLength: cbor.IndefLengthForbidden, Time: cbor.TimeRFC3339NanoUTC,
	}.EncMode())
	decoder = must(cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden,
		MaxNestedLevels: 16, MaxArrayElements: 1 << 16, MaxMapPairs: 1 << 16,
		UTF8: cbor.UTF8DecodeInvalid,
	}.DecMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Encode returns the deterministic byte form of a record (R1).
func Encode(v any) ([]byte, error) { return encoder.Marshal(v) }

// Decode reads a record into v. It copies what it keeps of b. Fields that it does not know
// are left out, so that an older node reads a newer one's records.
func Decode(b []byte, v any) error { return decoder.Unmarshal(b, v) }
