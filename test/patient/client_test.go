package patient_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"veto/test/patient"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(int) { http.DefaultTransport.(*http.Transport).CloseIdleConnections() }))
}

// What is refused for want of a leader is sent again, as it was, and nothing else is.
func TestOnlyWantOfALeaderIsWaitedFor(t *testing.T) {
	for refusal, want := range map[string]int{"the cluster has no leader just now, so": 4, "the node is busy": 1} {
		asked := 0
		node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if body, err := io.ReadAll(r.Body); string(body) != "a change" || r.Header.Get("Idempotency-Key") != "k" {
				t.Errorf("%s, %v, %v", body, r.Header, err)
			}
			if asked++; asked < 4 {
				w.WriteHeader(http.StatusServiceUnavailable)
				fmt.Fprint(w, refusal)
			}
		}))
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, node.URL, strings.NewReader("a change"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Idempotency-Key", "k")
		answer, err := patient.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		said, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if asked != want || (answer.StatusCode == http.StatusOK) != (want == 4) || want == 1 && string(said) != refusal || err != nil {
			t.Errorf("asked %d times, want %d: %s %s %v", asked, want, answer.Status, said, err)
		}
		node.Close()
	}
}
