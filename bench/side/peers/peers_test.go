package peers

import (
	"context"
	"encoding/base64"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"veto/bench/side/tokens"
)

// A cache of golang-lru never ends.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/hashicorp/golang-lru/v2/expirable.NewLRU[...].func1"))
}

// redisServer is a real one, if this machine has it.
func redisServer(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("there is no redis-server on this machine")
	}
	socket := filepath.Join(t.TempDir(), "redis")
	cmd := exec.CommandContext(t.Context(), program, "--port", "0", "--unixsocket", socket, "--save", "")
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	require.Eventually(t, func() bool {
		c, err := net.Dial("unix", socket)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}, 10*time.Second, 10*time.Millisecond)
	return socket
}

// B1, of all that need no etcd: those are held against the same before they are measured.
func TestPeersJudgeAlike(t *testing.T) {
	for _, alg := range []string{"RS256", "ES256", "EdDSA"} {
		maker, err := tokens.New(alg)
		require.NoError(t, err)
		stranger, err := tokens.New(alg)
		require.NoError(t, err)
		jwks, err := maker.JWKS()
		require.NoError(t, err)
		for _, name := range []string{"opa", "golang-jwt-redis", "jwx-redis", "golang-jwt-cached", "golang-jwt-pubsub"} {
			t.Run(name+" "+alg, func(t *testing.T) {
				c := Config{JWKS: jwks, Denied: []string{tokens.JTI(7)}}
				if name != "opa" {
					c.Redis = redisServer(t)
					r := redis.NewClient(&redis.Options{Addr: c.Redis}) // a path is a socket
					require.NoError(t, r.Set(t.Context(), Prefix+tokens.JTI(7), 1, 0).Err())
					require.NoError(t, r.Close())
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				s, err := All()[name].start(ctx, c)
				require.NoError(t, err)
				judge := func(m *tokens.Maker, n int, change tokens.Change) int {
					token, err := m.Token(n, change)
					require.NoError(t, err)
					return ask(t, s, token)
				}
				hour := time.Now().Add(time.Hour).Unix()
				require.Equal(t, 200, judge(maker, 1, nil))
				require.Equal(t, 401, judge(maker, 7, nil), "revoked")
				require.Equal(t, 401, judge(maker, 1, tokens.Change{"exp": time.Now().Add(-time.Minute).Unix()}), "expired")
				require.Equal(t, 401, judge(maker, 1, tokens.Change{"aud": []string{"x"}}), "for others")
				require.Equal(t, 401, judge(maker, 1, tokens.Change{"iss": "x"}), "of another issuer")
				require.Equal(t, 401, judge(stranger, 1, nil), "by another key")
				good, err := maker.Token(1, tokens.Change{"exp": hour})
				require.NoError(t, err)
				parts := strings.Split(good, ".")
				none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"` + alg + `"}`))
				require.Equal(t, 401, ask(t, s, none+"."+parts[1]+"."), "by nobody")
				require.Equal(t, 401, ask(t, s, parts[0]+"."+parts[1]+"."+strings.Repeat("A", len(parts[2]))), "altered")
			})
		}
	}
}

func ask(t *testing.T, h http.Handler, token string) int {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/v1/validate", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code
}

func TestIntrospectionJudges(t *testing.T) {
	s, err := startIntrospection(t.Context(), Config{})
	require.NoError(t, err)
	active := func(token string) bool {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("token="+url.QueryEscape(token)))
		r.Header.Set("Authorization", "Bearer "+s.tokens[0])
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		return w.Code == 200 && strings.Contains(w.Body.String(), `"active":true`)
	}
	require.True(t, active(s.tokens[1]))
	require.False(t, active(s.tokens[len(s.tokens)-1]), "revoked")
	require.False(t, active(s.tokens[1][1:]), "altered")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/revoke?jti="+url.QueryEscape(s.tokens[1]), nil))
	require.Equal(t, 200, w.Code)
	require.False(t, active(s.tokens[1]), "revoked since")
}
