package jwt

import (
	"encoding/json"
	"testing"
)

// J4
func FuzzReadObject(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":1}`, `{"a":[1,-2.5e+3,true,null,{"b":"\u00e9\ud83d\ude00"}]}`, ` { "a" : "" } `, `{"a":1,"a":2}`, `{"a":01}`, `[`, `{"\u0061":1}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		o, ok := readObject(string(b), nil)
		if !ok {
			return
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(b, &want); err != nil {
			t.Fatalf("%q is taken here and refused by encoding/json: %v", b, err)
		}
		if len(o) != len(want) {
			t.Fatalf("%q has %d members here and %d there", b, len(o), len(want))
		}
		for _, m := range o {
			if string(want[m.name]) != m.raw {
				t.Fatalf("%q: %q is %q here and %q there", b, m.name, m.raw, want[m.name])
			}
			if s, ok := text(m.raw); ok {
				var there string
				if err := json.Unmarshal([]byte(m.raw), &there); err != nil || there != s {
					t.Fatalf("%q: %q here and %q there", m.raw, s, there)
				}
			}
		}
	})
}
