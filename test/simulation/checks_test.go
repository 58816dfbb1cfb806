package simulation

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"veto/record"
	"veto/record/trail"
	"veto/replication/machine"
	"veto/test/history"
	"veto/validate"
)

// judge looks, once all is mended, whether every promise was kept.
func (s *simulation) judge() {
	s.tally.took(time.Since(s.began))
	if !s.settles() {
		return
	}
	s.endStreams()
	s.endMessages()
	if s.failed() || !s.settles() {
		return
	}
	s.meet()
	s.once(s.feeds())
	s.linear()
	s.delivered()
	s.ends()
	s.trails()
	s.states()
}

// settles waits until all nodes have the same, and nothing is on its way.
func (s *simulation) settles() bool {
	mended := time.Now()
	for time.Since(mended) < settleIn {
		if s.atRest() {
			return true
		}
		s.pause(200 * time.Millisecond)
	}
	var all []string
	for i := range nodes {
		if n := s.net.whoIs(i); n != nil {
			f := n.view.Freshness()
			all = append(all, fmt.Sprintf("%s: %+v, leads: %t, pending: %d, others': %d", nodeID(i), f, n.replica.Leads(), n.replica.Pending(), len(n.index.Undelivered())))
		}
	}
	s.wrong("the cluster does not come to rest in %s: the latest is %d; %q", settleIn, s.latest.Load(), all)
	return false
}

func (s *simulation) atRest() bool {
	at := map[record.Revision]bool{}
	for i := range nodes {
		n := s.net.whoIs(i)
		if n == nil {
			return false
		}
		f := n.view.Freshness()
		at[f.Revision] = true
		if !f.Ready || f.Age(s.now(i)) > time.Second || n.replica.Pending() > 0 || len(n.index.Undelivered()) > 0 {
			return false
		}
	}
	return len(at) == 1 && s.level()
}

// linear holds what clients saw against the models.
func (s *simulation) linear() {
	for name, of := range map[string]struct {
		model porcupine.Model
		ops   []porcupine.Operation
	}{"of credentials": {history.Model, s.history.Operations()}, "of keys' names": {registerModel, s.registers.ops}} {
		for _, ops := range of.model.Partition(of.ops) {
			if porcupine.CheckOperations(of.model, ops) {
				continue
			}
			s.wrong("the history %s breaks a promise:", name)
			slices.SortFunc(ops, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
			for _, op := range ops {
				s.wrong("  %d to %d: %s", op.Call, op.Return, of.model.DescribeOperation(op.Input, op.Output))
			}
		}
	}
}

// delivered looks whether the log has what was answered as pending, on every node.
func (s *simulation) delivered() {
	for _, p := range s.pendings {
		for i := range nodes {
			through, err := machine.DeliveredThrough(s.net.whoIs(i).store, p.accepted.Outbox)
			if err != nil || through < p.accepted.Number {
				s.wrong("credential %d was answered as pending, number %d, and %s has up to %d: %v", p.one.number, p.accepted.Number, nodeID(i), through, err)
			}
		}
	}
}

// ends looks whether what was answered is so on every node.
func (s *simulation) ends() {
	latest := record.Revision(s.latest.Load())
	for _, one := range s.credentials.all {
		var want validate.Outcome
		switch {
		case one.promised, one.revoked && !one.stuck:
			want = validate.Deny
		case !one.touched, one.owner >= 0 && !one.stuck:
			want = validate.Allow
		default:
			continue
		}
		for i := range nodes {
			v := s.net.whoIs(i).check.Validate(validate.Request{Credential: one.text, MinRevision: latest}, s.now(i))
			if v.Outcome != want {
				s.wrong("in the end credential %d is to be %v on %s, and is %v: %s, at %d", one.number, want, nodeID(i), v.Outcome, v.Code, v.Revision)
			}
		}
	}
}

// trails looks whether each audit trail is whole, and the same one.
func (s *simulation) trails() {
	heads := map[trail.Head]bool{}
	for i := range nodes {
		view := s.net.whoIs(i).view
		var chain trail.Chain
		for after := (trail.Entry{}); ; {
			page, err := view.Audit(after, 100)
			for _, e := range page {
				if broken := chain.Add(e); err == nil {
					err = broken
				}
				after = e
			}
			if err != nil {
				s.wrong("the audit trail of %s: %v", nodeID(i), err)
			}
			if len(page) < 100 || err != nil {
				break
			}
		}
		heads[chain.Head] = true
	}
	if len(heads) != 1 {
		s.wrong("audit trails differ: %v", heads)
	}
}

// states looks whether all nodes have the same state, byte for byte.
func (s *simulation) states() {
	sums := map[[32]byte][]string{}
	for i := range nodes {
		h := sha256.New()
		err := s.net.whoIs(i).store.Scan(nil, nil, func(key, value []byte) (bool, error) {
			if bytes.Equal(key, record.TableMeta.Key([]byte("applied"))) {
				return true, nil // a node may know of entries that change no record, or not yet
			}
			fmt.Fprintf(h, "%x %x\n", key, value)
			return true, nil
		})
		if err != nil {
			s.wrong("the state of %s: %v", nodeID(i), err)
		}
		sum := [32]byte(h.Sum(nil))
		sums[sum] = append(sums[sum], nodeID(i))
	}
	if len(sums) > 1 {
		s.wrong("states differ at one revision: %v", sums)
	}
}
