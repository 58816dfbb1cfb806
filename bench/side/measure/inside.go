package measure

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"veto/bench/side/machine"
	"veto/bench/side/peers"
	"veto/bench/side/tokens"
)

// Inside is the section on checks inside a process, without HTTP.
type Inside struct {
	Checks []Check `json:"checks"`
}

// Check is one kind of check of one kind of credential.
type Check struct {
	What string `json:"what"`
	Alg  string `json:"alg"`
	// Nanos are of the best round; Floor how often the bare check of the signature goes into the median, 0 where
	// there is none; Allocs are allocations, below 0 where they were not counted.
	Nanos  float64 `json:"ns"`
	Floor  float64 `json:"floor"`
	Allocs float64 `json:"allocs"`
}

// InsideSizes are how much is measured.
type InsideSizes struct {
	// Long is how long each check is measured; Revoked how many revocations a node has meanwhile.
	Long    time.Duration
	Revoked int
}

// nodeBenchmarks are those of room node that are read here.
const nodeBenchmarks = "^Benchmark(Cold|Warm|APIKey)$/^(RS256|PS256|ES256|EdDSA|one)$"

// RunInside measures libraries in this process, and Veto by the benchmarks of its own node, which take the same floor in the
// same way: the bare check of the same signature by the standard library, in turns. Program is their test, built before:
// what is killed when the time is up must be the test itself.
func RunInside(ctx context.Context, m *machine.Machine, program string, z InsideSizes) (*Inside, error) {
	dir, err := m.Dir("inside")
	if err != nil {
		return nil, err
	}
	m.Say("  the benchmarks of Veto's node")
	program, err = filepath.Abs(program)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program, "-test.run", "^$", "-test.bench", nodeBenchmarks, "-test.benchtime", z.Long.String(), "-revoked", strconv.Itoa(z.Revoked))
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("the benchmarks of a node: %w: %s", err, out)
	}
	in := &Inside{Checks: parse(out, z.Revoked)}
	if len(in.Checks) == 0 {
		return nil, fmt.Errorf("no benchmark in: %s", out)
	}
	for _, alg := range []string{"RS256", "ES256", "EdDSA"} {
		m.Say("  libraries, %s", alg)
		more, err := libraries(ctx, alg, z.Long)
		if err != nil {
			return nil, err
		}
		in.Checks = append(in.Checks, more...)
	}
	return in, nil
}

// parse reads what go test writes.
func parse(out []byte, revoked int) (all []Check) {
	for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
		f := strings.Fields(s.Text())
		if len(f) < 4 || !strings.HasPrefix(f[0], "Benchmark") {
			continue
		}
		value := map[string]float64{"allocs/op": -1}
		for i := 2; i+1 < len(f); i += 2 {
			if v, err := strconv.ParseFloat(f[i], 64); err == nil {
				value[f[i+1]] = v
			}
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(f[0], "Benchmark"), "-")
		kind, alg, _ := strings.Cut(name, "/")
		switch {
		case kind == "Cold":
			all = append(all, Check{What: "Veto, a token never seen", Alg: alg, Nanos: value["best-ns"], Floor: value["x-floor"], Allocs: -1})
		case name == "Warm/one":
			all = append(all, Check{What: fmt.Sprintf("Veto, a token seen before, among %d,000 revocations", revoked/1000), Alg: "any", Nanos: value["ns/op"], Allocs: value["allocs/op"]})
		case name == "APIKey/one":
			all = append(all, Check{What: "Veto, an API key", Nanos: value["ns/op"], Allocs: value["allocs/op"]})
		}
	}
	return all
}

var errWrong = errors.New("a good token was refused")

// libraries are held against the floor in turns.
func libraries(ctx context.Context, alg string, long time.Duration) (all []Check, err error) {
	maker, err := tokens.New(alg)
	if err != nil {
		return nil, err
	}
	jwks, err := maker.JWKS()
	if err != nil {
		return nil, err
	}
	token, err := maker.Token(1)
	if err != nil {
		return nil, err
	}
	below, err := floor(maker.Public(), token)
	if err != nil {
		return nil, err
	}
	checks, err := peers.Inside(ctx, jwks)
	if err != nil {
		return nil, err
	}
	names := []string{}
	for name := range checks {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		best, ratio, err := against(below, func() error { return checks[name](token) }, long)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, Check{What: name, Alg: alg, Nanos: best, Floor: ratio, Allocs: -1})
	}
	return all, nil
}

// against gives the best round of f, in nanoseconds, and the median of how often the floor goes into it.
func against(below, f func() error, long time.Duration) (best, ratio float64, err error) {
	const runs = 100
	round := func(f func() error) float64 {
		start := time.Now()
		for range runs {
			err = errors.Join(err, f())
		}
		return float64(time.Since(start).Nanoseconds()) / runs
	}
	var ratios []float64
	round(below)
	best = round(f)
	for start := time.Now(); time.Since(start) < long && err == nil; {
		under, took := round(below), round(f)
		ratios, best = append(ratios, took/under), min(best, took)
	}
	return best, median(ratios), err
}

// floor is the bare check of the token's signature, hash included.
func floor(key crypto.PublicKey, token string) (func() error, error) {
	at := strings.LastIndexByte(token, '.')
	input := []byte(token[:at])
	signature, err := base64.RawURLEncoding.DecodeString(token[at+1:])
	if err != nil {
		return nil, err
	}
	is := func(ok bool) error {
		if !ok {
			return errWrong
		}
		return nil
	}
	switch key := key.(type) {
	case *rsa.PublicKey:
		return func() error {
			d := sha256.Sum256(input)
			return rsa.VerifyPKCS1v15(key, crypto.SHA256, d[:], signature)
		}, nil
	case ed25519.PublicKey:
		return func() error { return is(ed25519.Verify(key, input, signature)) }, nil
	case *ecdsa.PublicKey:
		r, s := new(big.Int).SetBytes(signature[:len(signature)/2]), new(big.Int).SetBytes(signature[len(signature)/2:])
		return func() error {
			d := sha256.Sum256(input)
			return is(ecdsa.Verify(key, d[:], r, s))
		}, nil
	}
	return nil, fmt.Errorf("no floor for %T", key)
}
