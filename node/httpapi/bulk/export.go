package bulk

import (
	"bufio"
	"encoding/json"
	"io"
	"time"

	"veto/record"
)

// line is a revocation as a stream has it: what Import takes.
type line struct {
	Target    record.Target `json:"target"`
	Issuer    string        `json:"issuer,omitempty"`
	Value     string        `json:"value,omitempty"`
	And       []record.Part `json:"and,omitempty"`
	NotBefore *time.Time    `json:"not_before,omitempty"`
	Reason    string        `json:"reason,omitempty"`
}

const perPage = 100

// Export writes all revocations, by the time until which they are kept. List gives a page and the
// cursor of the next. What is made or lifted meanwhile may be there or not.
func Export(w io.Writer, list func(cursor string, limit int) ([]record.Revocation, string, error)) error {
	out := bufio.NewWriterSize(w, 64<<10)
	encode := json.NewEncoder(out)
	for cursor := ""; ; {
		page, next, err := list(cursor, perPage)
		if err != nil {
			return err
		}
		for _, r := range page {
			l := line{Target: r.Target, Issuer: r.Issuer, Value: r.Value, And: r.And, Reason: r.Reason}
			if !r.NotBefore.IsZero() {
				l.NotBefore = &r.NotBefore
			}
			if err := encode.Encode(l); err != nil {
				return err
			}
		}
		if cursor = next; cursor == "" {
			return out.Flush()
		}
	}
}
