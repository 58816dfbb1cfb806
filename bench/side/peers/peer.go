package peers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sort"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// Config is what a peer is told when it starts.
type Config struct {
	JWKS []byte
	// Redis and Etcd are addresses of these.
	Redis string
	Etcd  []string
	// Denied are the jtis that are revoked, for those that keep them themselves.
	Denied []string
}

// Peer is a way to answer the question.
type Peer struct {
	Title string
	// About says how it is built, for whoever reads a report.
	About string
	// Needs are the stores it needs: redis, etcd.
	Needs []string
	// Opaque is set where tokens are the peer's own. Judges is not set where nothing is judged.
	Opaque, Judges bool

	start func(ctx context.Context, c Config) (server, error)
}

// server is a peer that runs; tokens are its own, if it has such: the last one is revoked.
type server struct {
	http.Handler
	tokens []string
}

// All are the peers, by name.
func All() map[string]Peer {
	return map[string]Peer{
		EmptyFast: {
			Title: "an empty handler, fasthttp", About: "the server library of Veto's data plane, set as there, and a handler that does nothing: the least that Veto can cost.",
			start: func(context.Context, Config) (server, error) { return server{}, nil },
		},
		"empty": {
			Title: "an empty handler, net/http", About: "Go's own HTTP server, which reads the request and answers 200: the least that any of the peers below can cost.",
			start: func(context.Context, Config) (server, error) {
				return server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}, nil
			},
		},
		"golang-jwt-redis": {
			Title: "golang-jwt + Redis", Judges: true, Needs: []string{"redis"},
			About: "net/http, golang-jwt/jwt v5 with the algorithm, issuer and audience given, and EXISTS of the jti in Redis (go-redis v9, its pool) for each request.",
			start: with(golangJWT, inRedis),
		},
		"jwx-redis": {
			Title: "jwx + Redis", Judges: true, Needs: []string{"redis"},
			About: "the same with lestrrat-go/jwx v3: jwt.Parse with a key set, issuer and audience.",
			start: with(jwxJWT, inRedis),
		},
		"golang-jwt-cached": {
			Title: "golang-jwt + Redis, cached for 60 s", Judges: true, Needs: []string{"redis"},
			About: "as the first, with what Redis said kept in the process for 60 s (hashicorp/golang-lru v2, expirable, 100,000 entries): fast, and a revoked token that was seen before lives on until its entry goes.",
			start: with(golangJWT, cached),
		},
		"golang-jwt-pubsub": {
			Title: "golang-jwt + a map fed by Redis", Judges: true, Needs: []string{"redis"},
			About: "golang-jwt, and a map in the process which is read from Redis at the start and fed by SUBSCRIBE: no call for a request; what is published while the connection is broken is missed.",
			start: with(golangJWT, fedByRedis),
		},
		"golang-jwt-etcd": {
			Title: "golang-jwt + a map fed by etcd", Judges: true, Needs: []string{"etcd"},
			About: "golang-jwt, and a map in the process which is read from etcd at the start and fed by its watch: no call for a request, and fresh.",
			start: with(golangJWT, inEtcd),
		},
		"opa": {
			Title: "OPA as a library", Judges: true,
			About: "net/http and Open Policy Agent's rego package: a prepared query of io.jwt.decode_verify with the denylist in its data (in-memory store, values kept as AST).",
			start: startOPA,
		},
		"introspection": {
			Title: "introspection, ory/fosite", Opaque: true, Judges: true,
			About: "RFC 7662 with ory/fosite, the library in Ory Hydra, and its store in memory; the API's own token as the authorization, as a client's secret would cost a bcrypt each time.",
			start: startIntrospection,
		},
	}
}

// Names are the names of all peers, sorted.
func Names() []string {
	var names []string
	for name := range All() {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// verifier finds out whose token it is, and its jti.
type verifier func(token string) (jti string, err error)

// denylist tells whether a jti is revoked.
type denylist func(ctx context.Context, jti string) (bool, error)

func with(verify func(jwks []byte) (verifier, error), denied func(context.Context, Config) (denylist, error)) func(context.Context, Config) (server, error) {
	return func(ctx context.Context, c Config) (server, error) {
		v, err := verify(c.JWKS)
		if err != nil {
			return server{}, err
		}
		d, err := denied(ctx, c)
		if err != nil {
			return server{}, err
		}
		return server{Handler: judge(v, d)}, nil
	}
}

func judge(verify verifier, denied denylist) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		jti, err := verify(token)
		if err != nil {
			answer(w, http.StatusUnauthorized, "invalid")
			return
		}
		switch no, err := denied(r.Context(), jti); {
		case err != nil:
			answer(w, http.StatusServiceUnavailable, "unknown")
		case no:
			answer(w, http.StatusUnauthorized, "revoked")
		default:
			answer(w, http.StatusOK, "allow")
		}
	})
}

func answer(w http.ResponseWriter, status int, outcome string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(struct {
		Outcome string `json:"outcome"`
	}{outcome})
}

// EmptyFast is the peer that is served by fasthttp.
const EmptyFast = "empty-fasthttp"

// readBuffer is that of Veto's data plane, in bytes.
const readBuffer = 32 << 10

// Serve answers on the listener, which it owns, until the context ends. Ready is told the peer's own tokens.
func Serve(ctx context.Context, name string, c Config, l net.Listener, ready func(tokens []string) error) error {
	p, ok := All()[name]
	if !ok {
		return fmt.Errorf("%s is none of %v", name, Names())
	}
	s, err := p.start(ctx, c)
	if err == nil {
		err = ready(s.tokens)
	}
	if err != nil {
		return errors.Join(err, l.Close())
	}
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	if name == EmptyFast {
		fast := &fasthttp.Server{Handler: func(*fasthttp.RequestCtx) {}, NoDefaultDate: true, ReadBufferSize: readBuffer}
		err = fast.Serve(l)
	} else {
		err = (&http.Server{Handler: s.Handler, ReadHeaderTimeout: headerLimit}).Serve(l)
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

const headerLimit = 10 * time.Second
