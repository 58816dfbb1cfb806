package machine_test

import (
	"errors"
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"

	"veto/record"
	"veto/replication/machine"
)

func canary(value string) record.Taken {
	return record.Taken{Revocation: record.Revocation{Name: record.Name{Target: record.TargetJTI, Issuer: record.CanaryIssuer, Value: value}}}
}

func (s state) count(t record.Table) int {
	n := 0
	for k := range s {
		if k[0] == byte(t) {
			n++
		}
	}
	return n
}

// M6
func TestCanaryLeavesNoTrace(t *testing.T) {
	s, rev := founded(t)
	trail := s.count(record.TableAudit)
	if _, done, err := machine.Admit(s, canary("one"), stamp); done || err != nil {
		t.Fatal(done, err)
	}
	user := taken("a")[0]
	*rev++
	r, changes, err := machine.Apply(s, record.Command{Stamp: stamp, Body: deliver(1, canary("one"), user, canary("two"))}, *rev)
	if err != nil || r.Rejection != nil || len(r.Refused) != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	var names []string
	for _, c := range changes {
		if one, ok := c.Record.(*record.Revocation); ok {
			names = append(names, one.Value)
			if soon := one.KeptUntil.Sub(stamp); one.OfCanary() != (soon > 0 && soon <= time.Hour) {
				t.Errorf("%s is kept for %s", one.Value, soon)
			}
		}
	}
	if got := strings.Join(names, " "); got != "one a two" {
		t.Errorf("the index is told of %s", got)
	}
	if got := s.count(record.TableAudit) - trail; got != 1 {
		t.Errorf("%d entries in the audit trail for one revocation of a user's", got)
	}
	// It expires with its hour, and that is in the audit trail only if others did, too.
	trail = s.count(record.TableAudit)
	later := stamp.Add(3 * time.Hour)
	*rev++
	r, changes, err = machine.Apply(s, record.Command{Stamp: later, Body: record.Expire{Before: record.Bucket(later.Unix() / 3600)}}, *rev)
	if err != nil || r.Rejection != nil || len(changes) != 1 || s.count(record.TableAudit) != trail || s.count(record.TableRevocations) != 1 {
		t.Errorf("%+v, %v, %d changes, %d revocations left", r, err, len(changes), s.count(record.TableRevocations))
	}
	short := revocation(record.TargetJTI, "user")
	short.Expiry = stamp.Add(time.Minute)
	items := []record.Taken{{Revocation: short}}
	for i := range 20 { // so that some come before the user's
		items = append(items, canary(strconv.Itoa(i)))
	}
	apply(t, s, rev, stamp, deliver(4, items...))
	trail = s.count(record.TableAudit)
	apply(t, s, rev, later, record.Expire{Before: record.Bucket(later.Unix() / 3600)})
	if s.count(record.TableAudit) != trail+1 || s.count(record.TableRevocations) != 1 {
		t.Errorf("%d entries, %d revocations left", s.count(record.TableAudit)-trail, s.count(record.TableRevocations))
	}
}

// M6: whoever asks, and in whatever way.
func TestOnlyTheClusterRevokesInTheCanarysName(t *testing.T) {
	s, rev := founded(t)
	before := maps.Clone(s)
	refused := func(what string, r *record.Rejection) {
		t.Helper()
		if r == nil || r.Reason != record.ReasonInvalid || !strings.Contains(r.Detail, record.CanaryIssuer) {
			t.Errorf("%s: %v", what, r)
		}
	}
	byUser := canary("x")
	byUser.By = "key_a"
	refused("revoke", apply(t, s, rev, stamp, record.Revoke{Revocations: []record.Revocation{byUser.Revocation}}).Rejection)
	_, _, err := machine.Admit(s, byUser, stamp)
	var rejection *record.Rejection
	errors.As(err, &rejection)
	refused("admit", rejection)
	stream := imported("k", 1, "a")
	stream.Body = record.Import{First: 1, Alike: []record.Revocation{{Name: record.Name{Target: record.TargetJTI, Issuer: record.CanaryIssuer}}}, Items: []record.ImportItem{{Value: "x"}}}
	if r := applyCommand(t, s, rev, stream); len(r.Refused) != 1 {
		t.Errorf("import: %+v", r)
	}
	if r := apply(t, s, rev, stamp, deliver(1, byUser)); len(r.Refused) != 1 {
		t.Errorf("deliver: %+v", r)
	}
	whole := record.Taken{Revocation: record.Revocation{Name: record.Name{Target: record.TargetIssuer, Issuer: record.CanaryIssuer}}}
	if r := apply(t, s, rev, stamp, deliver(2, whole)); len(r.Refused) != 1 {
		t.Errorf("all of its tokens: %+v", r)
	}
	refused("trust", apply(t, s, rev, stamp, record.PutIssuer{Issuer: record.Issuer{ID: "canary", Issuer: record.CanaryIssuer, JWKSURI: "https://x/"}}).Rejection)
	for k := range s {
		if _, was := before[k]; !was && k[0] != byte(record.TableOutboxes) && k[0] != byte(record.TableRequests) {
			t.Errorf("%q is there", k)
		}
	}
}
