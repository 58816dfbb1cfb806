package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"veto/client"
	"veto/node"
	"veto/test/ports"
	"veto/test/token"
	"veto/validate"
)

const (
	iss    = "https://issuer.example"
	jti    = "jti-%06d"
	secret = "a-secret-of-another-system-%06d"
)

// alone is a node that can be started again.
type alone struct {
	*testing.T
	ctx    context.Context
	config node.Config
	admin  string
	node   *node.Node
}

func start(t *testing.T, change func(*node.Config)) *alone {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	x := &alone{T: t, ctx: ctx, config: node.DefaultConfig()}
	x.config.DataDir, x.config.NodeID, x.config.CanaryInterval, x.config.Port = t.TempDir(), "n1", 0, ports.Take(t)
	change(&x.config)
	x.start()
	t.Cleanup(x.stop)
	return x
}

func (x *alone) start() {
	x.Helper()
	n, err := node.Start(x.config, node.Surroundings{
		Version: "test", Now: time.Now, Log: slog.New(slog.DiscardHandler), AdminToken: func(secret string) error { x.admin = secret; return nil },
	})
	require.NoError(x, err)
	x.node = n
	for !n.Ready() || x.admin == "" {
		select {
		case err := <-n.Failed():
			x.Fatal(err)
		case <-x.ctx.Done():
			x.Fatal("it is not ready")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (x *alone) stop() {
	if x.node != nil {
		require.NoError(x, x.node.Close())
		x.node = nil
	}
}

func (x *alone) client() *client.Client {
	at := func(port int) []string { return []string{fmt.Sprintf("http://127.0.0.1:%d", port)} }
	return client.New(client.Options{Data: at(x.config.Port), Control: at(x.config.Port + 1), Token: x.admin})
}

func (x *alone) fill(args ...string) error {
	return run(x.ctx, append([]string{"-data-dir", x.config.DataDir}, args...), io.Discard)
}

// says asks again while the node does not know, as on a busy machine it may be behind its own leader.
func (x *alone) says(credential string, want validate.Code) {
	x.Helper()
	for tick := time.Tick(10 * time.Millisecond); ; <-tick {
		v, err := x.client().Validate(x.ctx, client.Question{Credential: credential})
		require.NoError(x, err)
		if v.Outcome != validate.Unknown {
			require.Equal(x, want, v.Code)
			return
		}
	}
}

// does changes something, again if the node cannot tell whether it did: a busy machine may lose even a leader who is alone.
func (x *alone) does(change func(c *client.Client) error) {
	x.Helper()
	again := false
	for tick := time.Tick(10 * time.Millisecond); ; <-tick {
		err := change(x.client())
		var problem *client.Error
		if !errors.As(err, &problem) || problem.Status < 500 {
			if again && problem != nil && problem.Status == http.StatusNotFound {
				return // it was deleted
			}
			require.NoError(x, err)
			return
		}
		again = true
	}
}

// T1
func TestNodeGoesOnWithWhatWasFilled(t *testing.T) {
	x := start(t, func(*node.Config) {})
	public, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	x.does(func(c *client.Client) error {
		_, err := c.PutIssuer(x.ctx, "one", client.Rules{Issuer: iss, JWKS: fmt.Appendf(nil, `{"keys": [{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": "k", "x": %q}]}`, base64.RawURLEncoding.EncodeToString(public))})
		return err
	})
	x.does(func(c *client.Client) error {
		_, err := c.PutConsumer(x.ctx, "shop", client.ConsumerFields{})
		return err
	})
	x.does(func(c *client.Client) error {
		_, err := c.Revoke(x.ctx, client.RevokeRequest{Target: "jti", Issuer: iss, Value: "by hand"}, false, 0)
		return err
	})
	x.stop()

	// Two parts and a rest, and another time, which goes on.
	require.NoError(t, x.fill("-what", "revocations", "-of", iss, "-form", jti, "-count", "9000"))
	require.NoError(t, x.fill("-what", "revocations", "-of", iss, "-form", jti, "-first", "9000", "-count", "1"))
	require.NoError(t, x.fill("-what", "keys", "-of", "shop", "-form", secret, "-first", "5", "-count", "5300"))
	x.start()

	named := func(id string) string {
		now := time.Now()
		return token.Sign(t, private, "k", "", map[string]any{"iss": iss, "sub": "u", "jti": id, "iat": now.Unix(), "exp": now.Add(time.Minute).Unix()})
	}
	for id, want := range map[string]validate.Code{
		fmt.Sprintf(jti, 0): validate.Revoked, fmt.Sprintf(jti, 4095): validate.Revoked, fmt.Sprintf(jti, 4096): validate.Revoked,
		fmt.Sprintf(jti, 8999): validate.Revoked, fmt.Sprintf(jti, 9000): validate.Revoked, fmt.Sprintf(jti, 9001): validate.OK, "by hand": validate.Revoked,
	} {
		x.says(named(id), want)
	}
	for n, want := range map[int]validate.Code{4: validate.KeyNotFound, 5: validate.OK, 6: validate.OK, 4100: validate.OK, 4101: validate.OK, 5304: validate.OK, 5305: validate.KeyNotFound} {
		x.says(fmt.Sprintf(secret, n), want)
	}
	require.Equal(t, 9002, x.exported(), "revocations")
	report, err := x.client().VerifyAudit(x.ctx)
	require.NoError(t, err, "the audit trail's chain")
	require.Greater(t, report.Entries, uint64(4)) // three parts of streams, the first key

	// It goes on: what is changed now, it has after another start.
	x.does(func(c *client.Client) error {
		_, err := c.Revoke(x.ctx, client.RevokeRequest{Target: "jti", Issuer: iss, Value: "later"}, false, 0)
		return err
	})
	off := true
	x.does(func(c *client.Client) error {
		_, err := c.UpdateKey(x.ctx, fmt.Sprintf("key_%026d", 700), client.KeyChange{Disabled: &off})
		return err
	})
	x.does(func(c *client.Client) error { _, err := c.DeleteKey(x.ctx, fmt.Sprintf("key_%026d", 701)); return err })
	sum := sha256.Sum256(fmt.Appendf(nil, secret, 702))
	_, err = x.client().CreateKey(x.ctx, client.KeyFields{Consumer: "shop", SHA256: hex.EncodeToString(sum[:])})
	require.ErrorContains(t, err, "has this hash")
	x.stop()
	x.start()
	require.Equal(t, 9003, x.exported())
	x.says(named("later"), validate.Revoked)
	for n, want := range map[int]validate.Code{700: validate.KeyDisabled, 701: validate.KeyNotFound, 702: validate.OK} {
		x.says(fmt.Sprintf(secret, n), want)
	}
	x.does(func(c *client.Client) error { _, err := c.DeleteConsumer(x.ctx, "shop"); return err }) // with all its keys
	for _, n := range []int{5, 702, 5304} {
		x.says(fmt.Sprintf(secret, n), validate.Malformed) // as no secret of any other form than Veto's is left
	}
}

func (x *alone) exported() (lines int) {
	x.Helper()
	var all bytes.Buffer
	require.NoError(x, x.client().Export(x.ctx, &all))
	for s := bufio.NewScanner(&all); s.Scan(); lines++ {
		require.True(x, json.Valid(s.Bytes()))
	}
	return lines
}

// T2
func TestWhatIsRefusedIsAnError(t *testing.T) {
	x := start(t, func(c *node.Config) {
		c.PepperKeyFile = filepath.Join(c.DataDir, "key")
		require.NoError(t, os.WriteFile(c.PepperKeyFile, []byte(base64.StdEncoding.EncodeToString(make([]byte, 32))), 0o600))
	})
	for tick := time.Tick(10 * time.Millisecond); ; <-tick {
		if p, err := x.client().Pepper(x.ctx); err == nil && len(p.Peppers) > 0 {
			break
		}
		require.NoError(t, x.ctx.Err())
	}
	x.does(func(c *client.Client) error {
		_, err := c.PutConsumer(x.ctx, "shop", client.ConsumerFields{})
		return err
	})
	running := x.fill("-what", "keys", "-of", "shop", "-form", secret, "-count", "1")
	require.Error(t, running, "while it runs")
	x.stop()
	for want, args := range map[string][]string{
		"the state refuses it":     {"-what", "keys", "-of", "shop", "-form", secret, "-count", "1"}, // which has no pepper
		"the state refuses 3":      {"-what", "revocations", "-of", "https://nobody.example", "-form", jti, "-count", "3"},
		"neither revocations nor":  {"-what", "issuers", "-count", "1"},
		"is no node's":             {"-data-dir", t.TempDir(), "-what", "keys", "-of", "shop", "-form", secret, "-count", "1"},
		"flag provided but not de": {"-nonsense"},
	} {
		require.ErrorContains(t, x.fill(args...), want)
	}
	ended, cancel := context.WithCancel(x.ctx)
	cancel()
	x.ctx = ended
	require.ErrorIs(t, x.fill("-what", "revocations", "-of", iss, "-form", jti, "-count", "3"), context.Canceled)
}
