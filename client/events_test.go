package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"veto/client"
)

func eventText(n int) string {
	return fmt.Sprintf("id: %d.1\nevent: veto.revoked\ndata: {\"specversion\":\"1.0\",\"id\":\"%d.1\",\"type\":\"veto.revoked\"}\n\n", n, n)
}

// U6
func TestEventsGoOn(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	answers := []string{
		": hello\nid: 3.0\n\n" + eventText(4) + "id: 5.1\nevent: veto.revoked\ndata: {\"specv", // cut off
		"",
		"retry: 5\n" + eventText(5) + eventText(6) + "id: 9.0\n\n",
		eventText(10),
	}
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if n := len(asked); n%2 == 1 && asked[n-1] != "lost" {
			asked = append(asked, "lost")
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		asked = append(asked, r.Header.Get("Last-Event-ID"))
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, answers[0])
		answers = append(answers[1:], "")
	}))
	defer node.Close()
	c := client.New(client.Options{Control: []string{"http://127.0.0.1:1", node.URL}, Token: "x"})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var got []string
	enough := errors.New("enough")
	place, err := c.Events(ctx, "", func(e client.Event) error {
		got = append(got, e.ID)
		if e.ID == "10.1" {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || place != "9.0" || strings.Join(got, " ") != "4.1 5.1 6.1 10.1" {
		t.Errorf("%v, at %s, %v", got, place, err)
	}
	asked = slices.DeleteFunc(asked, func(a string) bool { return a == "lost" })
	if strings.Join(asked, " ") != " 4.1 4.1 9.0" {
		t.Errorf("asked for what is after %q", asked)
	}
}

// U6
func TestEventsAreRefused(t *testing.T) {
	asked := 0
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusGone)
		_, _ = io.WriteString(w, `{"status": 410, "code": "gone", "detail": "kept no more"}`)
	}))
	defer node.Close()
	var problem *client.Error
	place, err := client.New(client.Options{Control: []string{node.URL}}).Events(t.Context(), "1.1", func(client.Event) error { return nil })
	if !errors.As(err, &problem) || problem.Code != "gone" || place != "1.1" || asked != 1 {
		t.Errorf("%v, at %s, asked %d times", err, place, asked)
	}
}

// U6: a node with too many streams of this caller's is no reason to give up.
func TestEventsWaitForRoom(t *testing.T) {
	asked := 0
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked++; asked == 1 {
			w.Header().Set("Content-Type", "application/problem+json")
			w.Header().Set("Retry-After", "5")
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = io.WriteString(w, `{"status": 429, "code": "too_many_streams", "detail": "close one"}`)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, eventText(4))
	}))
	defer node.Close()
	enough := errors.New("enough")
	place, err := client.New(client.Options{Control: []string{node.URL}}).Events(t.Context(), "1.1", func(client.Event) error { return enough })
	if !errors.Is(err, enough) || place != "1.1" || asked != 2 {
		t.Errorf("%v, at %s, asked %d times", err, place, asked)
	}
}
