package measure

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"veto/bench/side/machine"
	"veto/bench/side/tokens"
	"veto/client"
)

const (
	// streamed is up to how many revocations are sent to a node as a stream. More are written into its state while it
	// is stopped: that is no quicker for the node, but leaves out HTTP, the sender, and the log.
	streamed = 10_000_000
	// A revocation, and a key, takes so much of the disk at most, in bytes: while it is compacted, some twice of what it takes then.
	diskOfRevocation, diskOfKey = 400, 1000
)

// many is a node that is given more and more.
type many struct {
	*curves
	of    string
	node  *machine.Cluster
	asked *system
	maker *tokens.Maker
	empty int64 // its memory before
}

func (c *curves) many(ctx context.Context, of string) (*many, error) {
	x, s, maker, err := c.alone(ctx)
	if err != nil {
		return nil, err
	}
	return &many{curves: c, of: of, node: x, asked: s, maker: maker, empty: s.process.Memory()}, nil
}

// ofRevocations names their curves.
const ofRevocations = "revocations"

// restart starts the node again, with fill done meanwhile, and holds it against what must be said.
func (x *many) restart(ctx context.Context, n int, fill func() error) error {
	x.node.Processes[0].Stop()
	if err := fill(); err != nil {
		return err
	}
	stored, err := x.node.Stored(0)
	if err != nil {
		return err
	}
	start := time.Now()
	if err := errors.Join(x.node.StartNode(0), x.node.AwaitReady(ctx, 0)); err != nil {
		return err
	}
	took := time.Since(start)
	if err := x.node.AwaitRead(ctx, 0); err != nil {
		return err
	}
	read := time.Since(start)
	x.asked.process = x.node.Processes[0]
	memory := x.asked.process.Memory()
	x.m.Say("    started again in %s, all read in %s, with %d MiB of memory and %d MiB on the disk", took.Round(time.Millisecond), read.Round(time.Millisecond), memory>>20, stored>>20)
	x.add(x.of, "restart until it answers", "s", n, took.Seconds(), "")
	if x.of == ofRevocations {
		x.add(x.of, "restart until all are in memory", "s", n, read.Seconds(), "until then they are looked up on disk, which costs more.")
	}
	x.add(x.of, "memory after the restart", "MiB", n, float64(memory)/(1<<20), fmt.Sprintf("the whole process; %d MiB when it was empty.", x.empty>>20))
	x.add(x.of, "on the disk", "MiB", n, float64(stored)/(1<<20), "all of the node's files, while it is stopped: how much of it was compacted by then differs.")
	return nil
}

// revocations rise on one node, which is then started again.
func (c *curves) revocations(ctx context.Context) error {
	if err := c.m.Room(diskOfRevocation * int64(c.z.Revocations[len(c.z.Revocations)-1])); err != nil {
		return err
	}
	x, err := c.many(ctx, ofRevocations)
	if err != nil {
		return err
	}
	have := 0
	for _, n := range c.z.Revocations {
		c.m.Say("  %d revocations", n)
		fill := func() error { return x.fill(ctx, "revocations", tokens.Issuer, tokens.Form, firstDenied, have, n) }
		if n <= streamed {
			if err := x.stream(ctx, have, n); err != nil {
				return err
			}
			fill = func() error { return nil }
		}
		if err := x.restart(ctx, n, fill); err != nil {
			return err
		}
		have = n
		if err := x.sampled(ctx, n); err != nil {
			return err
		}
		cost, err := c.cpu(ctx, x.asked)
		if err != nil {
			return err
		}
		c.add(x.of, "a validation over HTTP", "us of processor", n, cost, "tokens that are not revoked, seen before.")
		if n > streamed {
			continue // an export of 100 million takes five minutes, and tells nothing new
		}
		if err := x.export(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

func (x *many) stream(ctx context.Context, have, n int) error {
	start := time.Now()
	if err := x.node.Revoke(ctx, fmt.Sprintf("to-%d", n), n-have, func(i int) string { return tokens.JTI(firstDenied + have + i) }); err != nil {
		return err
	}
	x.add(x.of, "taking them, a million", "s", n, time.Since(start).Seconds()/float64(n-have)*1e6, fmt.Sprintf("as a stream into one node, parsing and logging on one core; above %d million they are not sent.", streamed/1_000_000))
	return x.sampled(ctx, n)
}

// fill has more of them written into the state of the node, which does not run.
func (x *many) fill(ctx context.Context, what, of, form string, first, have, n int) error {
	start := time.Now()
	if err := x.node.Fill(ctx, 0, what, of, form, first+have, n-have); err != nil {
		return err
	}
	x.add(x.of, "writing them into the state, a million", "s", n, time.Since(start).Seconds()/float64(n-have)*1e6,
		"by bench/fill, while the node is stopped, as [its doc](../fill/doc.go) says: none of these was sent.")
	return nil
}

// sampled holds the node against tokens from all over those that are revoked, and others.
func (x *many) sampled(ctx context.Context, n int) error {
	token := func(i int) (string, error) { return x.maker.Token(i) }
	return exact(ctx, x.asked, x.z.Samples,
		func(i int) (string, error) { return token(firstDenied + n + i) },
		func(i int) (string, error) { return token(firstDenied + spread(i, x.z.Samples, n)) })
}

// spread is the i-th of so many places among n: the first and the last are among them.
func spread(i, places, n int) int { return i * (n - 1) / (places - 1) }

// exact asks about samples, each of which must be allowed, or denied.
func exact(ctx context.Context, s *system, samples int, good, bad func(i int) (string, error)) error {
	for i := range samples {
		for want, make := range map[bool]func(int) (string, error){true: good, false: bad} {
			credential, err := make(i)
			if err != nil {
				return err
			}
			got, err := s.asks(ctx, credential)
			if err != nil {
				return err
			}
			if got != want {
				return fmt.Errorf("%s: sample %d must have allow: %v, and it says allow: %v", s.name, i, want, got)
			}
		}
	}
	return nil
}

// export counts what it exports.
func (x *many) export(ctx context.Context, n int) error {
	var lines lineCount
	start := time.Now()
	if err := x.node.Client().Export(ctx, &lines); err != nil {
		return err
	}
	x.add(x.of, "export of all", "s", n, time.Since(start).Seconds(), "as lines of JSON, over HTTP.")
	if int(lines) != n {
		return fmt.Errorf("%d revocations are exported, of %d", lines, n)
	}
	return nil
}

// lineCount counts the lines that are written to it.
type lineCount int

func (l *lineCount) Write(p []byte) (int, error) {
	*l += lineCount(bytes.Count(p, []byte{'\n'}))
	return len(p), nil
}

// secretForm is that of the secrets of keys.
const secretForm = "an-old-secret-of-another-system-%d"

// keys rise on one node, as hashes of secrets that are known: one by one, and above that in its state.
func (c *curves) keys(ctx context.Context) error {
	if len(c.z.Filled) > 0 {
		if err := c.m.Room(diskOfKey * int64(c.z.Filled[len(c.z.Filled)-1])); err != nil {
			return err
		}
	}
	x, err := c.many(ctx, "API keys")
	if err != nil {
		return err
	}
	admin, have := x.node.Client(), 0
	if _, err := admin.PutConsumer(ctx, "bench", client.ConsumerFields{Name: "bench"}); err != nil {
		return err
	}
	for _, n := range c.z.Keys {
		c.m.Say("  %d API keys", n)
		if err := x.create(ctx, admin, have, n); err != nil {
			return err
		}
		have = n
		if err := x.checkKeys(ctx, n); err != nil {
			return err
		}
		c.add(x.of, "memory", "MiB", n, float64(x.asked.process.Memory())/(1<<20), "the whole process, which has made them.")
	}
	for _, n := range c.z.Filled {
		c.m.Say("  %d API keys", n)
		err := x.restart(ctx, n, func() error { return x.fill(ctx, "keys", "bench", secretForm, 0, have, n) })
		if err != nil {
			return err
		}
		have = n
		if err := x.checkKeys(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

func (x *many) create(ctx context.Context, admin *client.Client, have, n int) error {
	var secrets []string
	for i := have; i < n; i++ {
		secrets = append(secrets, fmt.Sprintf(secretForm, i))
	}
	start := time.Now()
	err := chunked(secrets, 50, 64, func(_ int, part []string) error {
		for _, secret := range part {
			sum := sha256.Sum256([]byte(secret))
			if _, err := admin.CreateKey(ctx, client.KeyFields{Consumer: "bench", SHA256: hex.EncodeToString(sum[:])}); err != nil {
				return err
			}
		}
		return nil
	})
	x.add(x.of, "making one, from 64 callers", "ms", n, 1000*time.Since(start).Seconds()/float64(n-have), "by POST /v1/keys.")
	return err
}

// checkKeys holds the node against keys from all over, and others, and measures what one costs.
func (x *many) checkKeys(ctx context.Context, n int) error {
	secret := func(i int) (string, error) { return fmt.Sprintf(secretForm, i), nil }
	err := exact(ctx, x.asked, x.z.Samples,
		func(i int) (string, error) { return secret(spread(i, x.z.Samples, n)) },
		func(i int) (string, error) { return secret(n + i) })
	if err != nil {
		return err
	}
	x.asked.tokens = nil
	for i := range min(n, goodTokens) {
		x.asked.tokens = append(x.asked.tokens, fmt.Sprintf(secretForm, i*n/min(n, goodTokens)))
	}
	cost, err := x.cpu(ctx, x.asked)
	if err != nil {
		return err
	}
	x.add(x.of, "a validation over HTTP", "us of processor", n, cost, "a thousand of them in turn, from all over.")
	return nil
}
