package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"veto/bench"
	"veto/client"
	"veto/validate"
)

// maxCredentials is how many credentials are sent in turn, at most.
const maxCredentials = 1_000_000

// benchOptions are the flags of all that puts load on a cluster.
type benchOptions struct {
	load   bench.Load
	closed bool
}

func newBench(r *remote) *cobra.Command {
	c := &cobra.Command{
		Use: "bench", Short: "Put load on a cluster, and see what those who wait for it see",
		Long: "Requests are due at a fixed rate, whatever becomes of the ones before, and a latency is counted\n" +
			"from when its request was due: a node that stalls is charged with all that came meanwhile. With\n" +
			"--closed each connection sends its next request when it has its answer; that finds out how many a\n" +
			"node can answer, and says little about how long they take.",
	}
	c.AddCommand(newBenchValidate(r), newBenchRevoke(r))
	return c
}

func (o *benchOptions) flags(c *cobra.Command, rate float64, connections int) {
	f := c.Flags()
	f.Float64Var(&o.load.Rate, "rate", rate, "requests a second, all addresses together")
	f.BoolVar(&o.closed, "closed", false, "as many as are answered, instead of a rate")
	f.IntVar(&o.load.Connections, "connections", connections, "connections, spread over the addresses")
	o.load.Duration = 10 * time.Second
	f.Var((*span)(&o.load.Duration), "duration", "how long is counted")
	f.DurationVar(&o.load.Warmup, "warmup", time.Second, "how long is sent before anything is counted")
}

func newBenchValidate(r *remote) *cobra.Command {
	var o benchOptions
	var file, expect string
	c := &cobra.Command{
		Use: "validate", Short: "Ask data planes whether credentials may still be used", Args: cobra.NoArgs,
		Long: "Sends the credentials of a file, one a line, in turn, to the data planes of --data-address.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !slices.Contains([]string{validate.Allow.String(), validate.Deny.String(), "any"}, expect) {
				return &exit{exitUsage, fmt.Errorf("--expect: %q is none of allow, deny and any", expect)}
			}
			all, err := credentials(file, cmd.InOrStdin())
			if err != nil {
				return &exit{exitUsage, fmt.Errorf("--credentials: %w", err)}
			}
			host, err := o.aim(r, r.data)
			if err != nil {
				return err
			}
			requests := make([][]byte, len(all))
			for i, credential := range all {
				requests[i] = fmt.Appendf(nil, "POST /v1/validate HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Length: 0\r\n\r\n", host, credential)
			}
			o.load.Request = func(n int64, _ []byte) []byte { return requests[n%int64(len(requests))] }
			o.load.Good = func(status int, body []byte) bool {
				return status == 200 && (expect == "any" || outcomeOf(body) == expect)
			}
			return o.run(cmd, r)
		},
	}
	o.flags(c, 1000, 64)
	c.Flags().StringVar(&file, "credentials", "-", "file with credentials, one a line; - is standard input (there is no flag for a credential itself: others could see it in the list of processes)")
	c.Flags().StringVar(&expect, "expect", validate.Allow.String(), "the outcome that counts as good: allow, deny or any")
	return c
}

// outcomeOf reads the answer's first member, as a whole parse would take longer than the node does.
func outcomeOf(body []byte) string {
	rest, ok := strings.CutPrefix(string(body[:min(len(body), 40)]), `{"outcome":"`)
	outcome, _, closed := strings.Cut(rest, `"`)
	if !ok || !closed {
		return ""
	}
	return outcome
}

func newBenchRevoke(r *remote) *cobra.Command {
	var o benchOptions
	var issuer, wait string
	c := &cobra.Command{
		Use: "revoke", Short: "Revoke tokens that do not exist", Args: cobra.NoArgs,
		Long: "Revokes one jti after the other that no token has, of an issuer of the cluster's, at the control planes\n" +
			"of --address. They stay in the cluster for as long as the issuer's tokens may live, and in its audit\n" +
			"trail for good. Nodes bound what one caller may ask of their control plane (caller_rate).",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if wait != waitCommitted && wait != waitEnforced {
				return &exit{exitUsage, fmt.Errorf("--wait: %q is neither committed nor enforced", wait)}
			}
			host, err := o.aim(r, r.control)
			if err != nil {
				return err
			}
			token, err := r.token()
			if err != nil {
				return err
			}
			name := "bench-" + rand.Text() + "-"
			o.load.Request = func(n int64, room []byte) []byte {
				// What these are made of cannot fail to be written as JSON.
				body, _ := json.Marshal(client.RevokeRequest{Target: "jti", Issuer: issuer, Value: name + fmt.Sprint(n), Reason: "veto bench"})
				return fmt.Appendf(room, "POST /v1/revocations?wait=%s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nIdempotency-Key: %s%d\r\n"+
					"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", wait, host, token, name, n, len(body), body)
			}
			o.load.Good = func(status int, _ []byte) bool { return status == 201 }
			return o.run(cmd, r)
		},
	}
	o.flags(c, 50, 64)
	c.Flags().StringVar(&issuer, "issuer", "", "the iss of the tokens that do not exist; an issuer that the cluster trusts")
	c.Flags().StringVar(&wait, "wait", waitCommitted, "for what a receipt is waited: committed or enforced")
	_ = c.MarkFlagRequired("issuer") // it is there
	return c
}

// credentials reads them, one a line.
func credentials(file string, in io.Reader) ([]string, error) {
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	var all []string
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxSecret)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if strings.ContainsFunc(line, func(c rune) bool { return c <= ' ' || c > '~' }) {
			return nil, fmt.Errorf("line %d is no credential", len(all)+1)
		}
		if line != "" {
			all = append(all, line)
		}
		if len(all) > maxCredentials {
			return nil, fmt.Errorf("there are more than %d", maxCredentials)
		}
	}
	if len(all) == 0 && lines.Err() == nil {
		return nil, fmt.Errorf("there are none")
	}
	return all, lines.Err()
}

// aim points the load at base URLs, of one scheme all, and gives the host that requests name.
func (o *benchOptions) aim(r *remote, bases []string) (host string, err error) {
	scheme := ""
	for _, base := range bases {
		u, err := url.Parse(base)
		if err != nil || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.Scheme != "http" && u.Scheme != "https" || scheme != "" && u.Scheme != scheme {
			return "", &exit{exitUsage, fmt.Errorf("an address must be http or https, as all others, with a host, and no more")}
		}
		scheme, host = u.Scheme, u.Host
		address := u.Host
		if u.Port() == "" {
			address = net.JoinHostPort(u.Hostname(), map[string]string{"http": "80", "https": "443"}[scheme])
		}
		o.load.Addresses = append(o.load.Addresses, address)
	}
	if scheme == "https" {
		if o.load.TLS, err = r.tls(); err != nil {
			return "", err
		}
		// Certificates are checked by the name that is dialled.
		o.load.TLS.NextProtos = []string{"http/1.1"}
	}
	if o.closed {
		o.load.Rate = 0
	} else if o.load.Rate <= 0 {
		return "", &exit{exitUsage, fmt.Errorf("--rate: must be above zero; for as many as are answered, give --closed")}
	}
	return host, r.checkOutput()
}

// run puts the load on, and shows what came of it.
func (o *benchOptions) run(cmd *cobra.Command, r *remote) error {
	result, err := o.load.Run(cmd.Context())
	if result == nil {
		return &exit{exitUsage, err}
	}
	if err != nil && cmd.Context().Err() == nil {
		return err
	}
	out := &printer{w: cmd.OutOrStdout(), json: r.output == "json"}
	if err := showResult(out, result); err != nil {
		return err
	}
	if n := result.Bad + result.Failed + result.Unanswered; n > 0 {
		return &exit{exitError, fmt.Errorf("%d requests were not answered as they should be", n)}
	}
	return context.Cause(cmd.Context())
}

func showResult(out *printer, r *bench.Result) error {
	wanted := ""
	if r.Wanted > 0 {
		wanted = fmt.Sprintf("%.0f", r.Wanted)
	}
	err := out.fields(r, "wanted", wanted, "a second", fmt.Sprintf("%.0f", r.Rate), "good", r.Good, "bad", nonZero(r.Bad), "failed", nonZero(r.Failed), "unanswered", nonZero(r.Unanswered),
		"p50", r.Latency.At(0.5), "p90", r.Latency.At(0.9), "p99", r.Latency.At(0.99), "p99.9", r.Latency.At(0.999), "longest", r.Latency.Max(),
		"sent late", fmt.Sprintf("%v (p99)", r.Late.At(0.99)))
	for reason, n := range r.Reasons {
		if err == nil {
			err = out.line("%-14s%d %s", "", n, visible(reason))
		}
	}
	for status, n := range r.Statuses {
		if err == nil && status >= 300 {
			err = out.line("%-14s%d with status %d", "", n, status)
		}
	}
	return err
}

func nonZero(n int64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}
