package record_test

import (
	"testing"
	"time"

	"veto/record"
)

func TestParseTime(t *testing.T) {
	want := time.Date(2026, 1, 31, 4, 5, 6, 500_000_000, time.UTC)
	for text, good := range map[string]bool{
		"2026-01-31T04:05:06.5Z": true, "2026-01-31T05:05:06.50+01:00": true, "2026-01-30T22:05:06.5-06:00": true, "2026-01-31t04:05:06.5z": true,
		"2026-01-31T4:05:06.5Z": false, "2026-01-31T04:05:06,5Z": false, "2026-01-31 04:05:06.5Z": false, "2026-01-31T04:05:06.5": false,
		"2026-01-31T04:05:06.5+24:00": false, "2026-01-31T04:05:06.5+01:60": false, "2026-02-30T04:05:06Z": false, "2026-01-31": false, "yesterday": false, "": false, "0001-01-01T00:00:00Z": false,
	} {
		got, err := record.ParseTime(text)
		if (err == nil) != good || good && !got.Equal(want) {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
}
