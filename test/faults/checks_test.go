//go:build faults

package faults

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"veto/client"
	"veto/record"
	"veto/replication/store"
	"veto/test/history"
	"veto/validate"
)

// findings are what is wrong once all has healed.
type findings struct {
	lost  int // answered revocations that a node does not enforce
	wrong int // whatever else breaks a promise
}

// shown is how many of what is lost, and of what is wrong, are told in full.
const shown = 5

// settle is how long the cluster may take to be as it says.
const settle = 20 * time.Second

// ends looks whether what was answered is so on every node: what was revoked is denied, and what was not
// revoked, or was lifted again, allowed.
//
// A leader whose clock is ahead drops keys that an issuer has withdrawn, and one whose clock is behind
// has them withdrawn earlier: what these have signed is then denied. So it is not looked for where clocks
// were wrong.
func (w *workload) ends(f *findings, clocks bool) {
	var over, good []*credential
	withdrawn := 0
	for _, one := range w.credentials.all {
		switch {
		case one.promised:
			over = append(over, one)
		case clocks && one.kid != "" && one.kid != w.fetched.current():
			withdrawn++
		case !one.touched || one.lifted && !one.stuck:
			good = append(good, one)
		}
	}
	for i := range w.nodes {
		for _, one := range w.unlike(i, over, func(v validate.Verdict) bool { return v.Outcome == validate.Deny }) {
			if f.lost++; f.lost <= shown {
				w.t.Errorf("credential %d, revoked at %d, is not denied on %s: %s", one.number, one.last, id(i), w.ask(i, one))
				w.tell(one.number)
			}
		}
		for _, one := range w.unlike(i, good, func(v validate.Verdict) bool { return v.Outcome == validate.Allow }) {
			if f.wrong++; f.wrong > shown {
				continue
			}
			w.t.Errorf("credential %d, of %d, which nobody revoked or which was lifted again, is not allowed on %s: %s", one.number, one.last, id(i), w.ask(i, one))
			w.tell(one.number)
		}
	}
	w.t.Logf("on each of %d nodes, %d credentials were to be denied, and %d allowed; %d are of withdrawn keys", w.nodes, len(over), len(good), withdrawn)
}

// unlike are those of whom a node does not give the verdict that is wanted, however often it is asked.
func (w *workload) unlike(i int, all []*credential, wanted func(validate.Verdict) bool) []*credential {
	const atOnce = 200
	var left []*credential
	deadline := time.Now().Add(settle)
	for chunk := range slices.Chunk(all, atOnce) {
		questions := make([]client.Question, len(chunk))
		for j, one := range chunk {
			questions[j] = client.Question{Credential: one.text, MinRevision: one.last}
		}
		rest := chunk
		for first := true; first || len(rest) > 0 && time.Now().Before(deadline); first = false {
			rest = nil
			verdicts, err := w.at(i).ValidateAll(w.t.Context(), questions)
			for j, one := range chunk {
				if err != nil || !wanted(verdicts[j]) {
					rest = append(rest, one)
				}
			}
			if err != nil {
				w.t.Logf("%s, asked for %d verdicts: %v", id(i), len(chunk), err)
			}
			if len(rest) > 0 {
				<-time.After(100 * time.Millisecond)
			}
		}
		left = append(left, rest...)
	}
	return left
}

// ask is what a node says of a credential, for people.
func (w *workload) ask(i int, one *credential) string {
	v, err := w.at(i).Validate(w.t.Context(), client.Question{Credential: one.text, MinRevision: one.last})
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%s, by the state at %d", v.Code, v.Revision)
}

// issuers looks whether tokens of all issuers are allowed that are signed now, whatever was published
// meanwhile.
func (w *workload) issuers(f *findings) {
	for _, x := range []*issuer{w.given, w.fetched} {
		text, _ := x.token("at the end", w.life)
		one := &credential{text: text}
		for i := range w.nodes {
			if len(w.unlike(i, []*credential{one}, func(v validate.Verdict) bool { return v.Outcome == validate.Allow })) > 0 {
				f.wrong++
				w.t.Errorf("a token that %s signs now is not allowed on %s: %s", x.name, id(i), w.ask(i, one))
			}
		}
	}
}

// trails looks whether each node's audit trail is whole, and holds the head that the first has.
func (w *workload) trails(f *findings) {
	head, err := w.at(0).AuditHead(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	for i := range w.nodes {
		var out []byte
		for deadline := time.Now().Add(settle); time.Now().Before(deadline); <-time.After(100 * time.Millisecond) {
			cmd := exec.Command(w.binary, "audit", "verify", "--address", w.control(i), "--head", head.Text)
			cmd.Env = append(os.Environ(), "VETO_TOKEN="+w.admin)
			if out, err = cmd.CombinedOutput(); err == nil {
				break // until then it may be behind the first
			}
		}
		if err != nil {
			f.wrong++
			w.t.Errorf("the audit trail of %s: %v: %s", id(i), err, out)
		}
	}
	w.t.Logf("the audit trail of each node is whole, up to %s", head.Text)
}

// states looks whether all nodes have the same state at the same revision, byte for byte. It ends the
// nodes; they have come to rest when they are without canaries.
func (w *workload) states(f *findings) {
	w.extra = append(w.extra, "--canary-interval", "0")
	const tries = 3
	for range tries {
		for i := range w.nodes {
			w.stop(i)
		}
		for i := range w.nodes {
			w.start(i)
		}
		for i := range w.nodes {
			w.ready(i)
		}
		w.until("all nodes to be at one revision", w.level)
		for i := range w.nodes {
			w.stop(i)
		}
		sums, at := map[[32]byte][]string{}, map[uint64]bool{}
		for i := range w.nodes {
			sum, index, err := stateOf(filepath.Join(w.disks[i].dir, "data", "state"))
			if err != nil {
				f.wrong++
				w.t.Errorf("the state of %s: %v", id(i), err)
			}
			sums[sum], at[index] = append(sums[sum], id(i)), true
		}
		if len(at) > 1 {
			continue // one had more of the log than another when it ended
		}
		if len(sums) > 1 {
			f.wrong++
			w.t.Errorf("states differ at one revision: %v", sums)
		} else {
			for sum := range sums {
				w.t.Logf("all states are the same at entry %d: %x", w.only(at), sum[:8])
			}
		}
		return
	}
	f.wrong++
	w.t.Errorf("the nodes did not end at one revision in %d tries", tries)
}

func (w *workload) only(at map[uint64]bool) uint64 {
	for index := range at {
		return index
	}
	return 0
}

// level tells whether all nodes have applied the same.
func (w *workload) level() bool {
	s, err := w.at(0).Cluster(w.t.Context())
	if err != nil || len(s.Nodes) != w.nodes {
		return false
	}
	return !slices.ContainsFunc(s.Nodes, func(n record.NodeStatus) bool { return n.Applied != s.Nodes[0].Applied || n.Applied == 0 })
}

// stateOf is a hash over the records of a state, and the entry of the log up to which they are.
func stateOf(dir string) (sum [32]byte, index uint64, err error) {
	s, err := store.Open(dir, store.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return sum, 0, err
	}
	h := sha256.New()
	err = s.Scan(nil, nil, func(key, value []byte) (bool, error) {
		fmt.Fprintf(h, "%x %x\n", key, value)
		return true, nil
	})
	index = s.Applied().Index
	return [32]byte(h.Sum(nil)), index, errors.Join(err, s.Close())
}

// linear holds the history against the model.
func (w *workload) linear(f *findings) porcupine.CheckResult {
	result := porcupine.CheckOperationsTimeout(history.Model, w.history.Operations(), 2*time.Minute)
	if result == porcupine.Ok {
		return result
	}
	w.t.Errorf("the history breaks a promise: %s", result)
	for _, ops := range history.Model.Partition(w.history.Operations()) {
		result, info := porcupine.CheckOperationsVerbose(history.Model, ops, time.Minute)
		if result == porcupine.Ok {
			continue
		}
		if f.wrong++; f.wrong > shown {
			continue
		}
		number := ops[0].Input.(history.Question).Credential
		w.tell(number)
		path := filepath.Join(os.TempDir(), fmt.Sprintf("veto-faults-%d-%d.html", *seed, number))
		if porcupine.VisualizePath(history.Model, info, path) == nil {
			w.t.Logf("  see %s", path)
		}
	}
	return result
}

// tell shows the history of one credential.
func (w *workload) tell(number int) {
	var ops []porcupine.Operation
	for _, op := range w.history.Operations() {
		if op.Input.(history.Question).Credential == number {
			ops = append(ops, op)
		}
	}
	slices.SortFunc(ops, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	one := w.credentials.all[number]
	w.t.Logf("  credential %d, API key %q, named by %+v", number, one.key, one.denied[len(one.denied)-1])
	for _, op := range ops {
		w.t.Logf("  %12s to %12s, client %d: %s", time.Duration(op.Call), time.Duration(op.Return), op.ClientId, history.Model.DescribeOperation(op.Input, op.Output))
	}
}
