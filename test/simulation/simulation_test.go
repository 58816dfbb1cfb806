package simulation

import (
	"crypto/ed25519"
	"encoding/base64"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"veto/record"
	"veto/record/event"
	"veto/replication/pepper"
	"veto/replication/roster"
	"veto/test/history"
)

var (
	firstSeed = flag.Uint64("seed", 1, "the first seed")
	seeds     = flag.Int("seeds", 1, "how many seeds")
	tellAll   = flag.Bool("tell", false, "tell what nodes log")
)

// simulation is one run.
type simulation struct {
	t      *testing.T
	plan   plan
	dir    string // of streams on their way
	began  time.Time
	random *rand.Rand // the nemesis's
	net    *network
	nodes  []*node
	passed atomic.Int64 // seconds that everyone's clock went on at once
	ring   *pepper.Ring
	// signing signs tokens; secrets gives the random bytes of nodes and keys.
	signing ed25519.PrivateKey
	secrets *bytesOf
	// gossipKey is by which members read each other.
	gossipKey []byte
	log       *slog.Logger
	logged    *latest
	wg        sync.WaitGroup
	tally     *tally

	clock       atomic.Int64  // that of the history
	latest      atomic.Uint64 // the highest revision that anyone was told of
	made        atomic.Uint64 // names are numbered
	history     history.Log
	credentials credentials
	registers   registers
	streams     streams
	messages    messages
	heard       heard
	late        atomic.Bool // the issuer that was not there before is there

	mu       sync.Mutex
	pendings []pending
	problems []string
	told     []string
}

const (
	// maxStaleness is short, so that much is unknown while nodes are cut off.
	maxStaleness = 3 * time.Second
	// life of tokens, which is what their revocations are kept for.
	life     = 4 * time.Hour
	issuer   = "https://issuer.test"
	adminKey = "key_admin"
	kid      = "k1"
	clients  = 4
	senders  = 2 // of streams and messages
	foundIn  = 30 * time.Second
	settleIn = 90 * time.Second
	runLimit = 3 * time.Minute // of the machine's time, for one run
)

// wrong notes that a promise is broken.
func (s *simulation) wrong(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.problems = append(s.problems, fmt.Sprintf("at %s: ", time.Since(s.began))+fmt.Sprintf(format, args...))
}

// tell notes what happened, for whoever reads of a failure.
func (s *simulation) tell(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, fmt.Sprintf("%12s  ", time.Since(s.began).Round(time.Microsecond))+fmt.Sprintf(format, args...))
}

func (s *simulation) failed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.problems) > 0
}

func newSimulation(t *testing.T, p plan, all *tally, dir string) *simulation {
	t.Helper()
	s := &simulation{
		t: t, plan: p, dir: dir, began: time.Now(), random: rand.New(rand.NewPCG(p.seed, 2)),
		net: newNetwork(p.seed, nodes), secrets: seededBytes(p.seed), tally: all, heard: heard{all: map[event.ID]happening{}},
	}
	to := slog.DiscardHandler
	if *tellAll {
		to = slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo})
	}
	s.logged = &latest{began: s.began}
	s.log = slog.New(watched{Handler: to, tally: all, last: s.logged})
	key := make([]byte, ed25519.SeedSize)
	_, _ = s.secrets.Read(key) // it never fails
	s.signing = ed25519.NewKeyFromSeed(key)
	if p.peppers {
		_, _ = s.secrets.Read(key)
		ring, err := pepper.ParseRing([]byte(base64.StdEncoding.EncodeToString(key)))
		if err != nil {
			t.Fatal(err)
		}
		s.ring = ring
	}
	s.gossipKey = make([]byte, roster.KeyBytes)
	_, _ = s.secrets.Read(s.gossipKey)
	s.passed.Store(p.passed)
	for range nodes {
		n := &node{turn: make(chan struct{}, 1)}
		n.disk = newDisk(func() time.Duration { return 300*time.Microsecond + time.Duration(n.sync.Load()) })
		s.nodes = append(s.nodes, n)
	}
	return s
}

func (s *simulation) found() (record.Found, error) {
	f := record.Found{ClusterID: "simulated", ChainAudit: true, Admin: record.APIKey{
		ID: adminKey, Name: "admin", Hint: "veto_op_…", Roles: []record.Role{record.RoleAdmin},
	}}
	_, err := s.secrets.Read(f.DigestKey[:])
	_, _ = s.secrets.Read(f.Admin.Hash[:])
	return f, err
}

// run is one run, in time that passes only while nothing else happens.
func (s *simulation) run() {
	for i := range nodes {
		s.start(i)
	}
	s.prepare()
	if !s.failed() {
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.work()
		}()
		s.nemesis()
		<-done
		s.judge()
	}
	s.end()
}

// show tells what was wrong, and how to see it again.
func (s *simulation) show(t *testing.T) {
	t.Helper()
	t.Errorf("seed %d: go test ./test/simulation -run TestSimulation -seed %d", s.plan.seed, s.plan.seed)
	t.Logf("  %s of faults, exact up to %d, peppers: %t, clocks: %t, stale: %t, %+v", s.plan.long, s.plan.exactMax, s.plan.peppers, s.plan.clocks, s.plan.stale, s.plan.timing)
	for _, line := range s.told {
		t.Log("  " + line)
	}
	for i, p := range s.problems {
		if i < 80 {
			t.Log("  WRONG " + p)
		}
	}
}

// P5, P6, P7, P8, P10, P12, and those of streams, messages, feeds and gossip.
func TestSimulation(t *testing.T) {
	all := newTally()
	var next atomic.Uint64
	began := time.Now()
	t.Cleanup(func() { all.show(t, time.Since(began)) })
	for n := range min(runtime.GOMAXPROCS(0), *seeds) {
		t.Run(fmt.Sprint("worker ", n), func(t *testing.T) {
			t.Parallel()
			for {
				n := next.Add(1) - 1
				if n >= uint64(*seeds) {
					return
				}
				runSeed(t, *firstSeed+n, all)
			}
		})
	}
}

func runSeed(t *testing.T, seed uint64, all *tally) {
	t.Helper()
	var now atomic.Pointer[simulation]
	hung := time.AfterFunc(runLimit, func() {
		stacks := make([]byte, 16<<20)
		fmt.Fprintf(os.Stderr, "seed %d hangs\n%s\n", seed, stacks[:runtime.Stack(stacks, true)])
		if s := now.Load(); s != nil {
			fmt.Fprintf(os.Stderr, "nodes logged last:\n%s", s.logged)
		}
		os.Exit(2)
	})
	defer hung.Stop()
	dir, err := os.MkdirTemp(t.TempDir(), "streams")
	if err != nil {
		t.Fatal(err)
	}
	var s *simulation
	synctest.Test(t, func(t *testing.T) {
		s = newSimulation(t, newPlan(seed), all, dir)
		now.Store(s)
		s.run()
	})
	all.ran(len(s.problems))
	if s.failed() { // told only here: what fails within the bubble ends its test
		s.show(t)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Error(err)
	}
}
