package measure

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"time"

	"veto/bench"
	"veto/bench/side/machine"
)

// Spec is a load, as the process that makes it is told.
type Spec struct {
	Address string
	// Requests are sent in turn.
	Requests []string
	// Status and Within are what a good answer has.
	Status      int
	Within      string
	Rate        float64
	Connections int
	Warmup      time.Duration
	Duration    time.Duration
}

// RunLoad reads a Spec, puts the load on, and writes the result: it is the whole of a process of its own, so
// that nothing else in this program is on its core.
func RunLoad(ctx context.Context, in io.Reader, out io.Writer) error {
	var s Spec
	if err := json.NewDecoder(in).Decode(&s); err != nil {
		return err
	}
	requests := make([][]byte, len(s.Requests))
	for i, r := range s.Requests {
		requests[i] = []byte(r)
	}
	within := []byte(s.Within)
	result, err := bench.Load{
		Addresses: []string{s.Address}, Rate: s.Rate, Connections: s.Connections, Warmup: s.Warmup, Duration: s.Duration, Drain: time.Second,
		Request: func(n int64, _ []byte) []byte { return requests[n%int64(len(requests))] },
		Good:    func(status int, body []byte) bool { return status == s.Status && bytes.Contains(body, within) },
	}.Run(ctx)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(result)
}

// Loaded is what came of a Spec.
type Loaded struct {
	Wanted     float64 `json:"wanted_rate"`
	Rate       float64 `json:"rate"`
	Good       int64   `json:"good"`
	Bad        int64   `json:"bad"`
	Failed     int64   `json:"failed"`
	Unanswered int64   `json:"unanswered"`
	Latency    struct {
		P50  int64 `json:"p50_us"`
		P99  int64 `json:"p99_us"`
		P999 int64 `json:"p999_us"`
	} `json:"latency"`
	Late struct {
		P99 int64 `json:"p99_us"`
	} `json:"late"`
	// Busy is the share of its core that the generator used.
	Busy float64 `json:"busy"`
}

// put puts a load on from the client's core.
func put(ctx context.Context, m *machine.Machine, s Spec) (Loaded, error) {
	in, err := json.Marshal(s)
	if err != nil {
		return Loaded{}, err
	}
	var out, said bytes.Buffer
	cmd := exec.CommandContext(ctx, "taskset", "-c", string(m.Client), m.Self, "load")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &said
	if err := cmd.Run(); err != nil {
		return Loaded{}, fmt.Errorf("the generator of load: %w: %s", err, &said)
	}
	var got Loaded
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		return Loaded{}, err
	}
	got.Busy = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds() / (s.Warmup + s.Duration).Seconds()
	if got.Bad+got.Failed > 0 {
		return got, fmt.Errorf("%d answers of %s were not as they should be, and %d were none", got.Bad, s.Address, got.Failed)
	}
	return got, nil
}
