package health

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"veto/record"
)

// From when something is worth a word.
const (
	slowMillis   = 5000
	clockMillis  = 2000
	endsSoon     = 30 * 24 * time.Hour
	endsNow      = 7 * 24 * time.Hour
	leastDisk    = 10 // percent that are free
	leastDiskNow = 3
)

// look is one look at a cluster.
type look struct {
	record.ClusterStatus
	now      time.Time
	voters   []record.NodeStatus
	answer   []string // of the voters
	problems []record.ClusterProblem
}

// Of fills in how many more voters may be lost, and what is wrong, at the time.
func Of(s record.ClusterStatus, now time.Time) record.ClusterStatus {
	l := look{ClusterStatus: s, now: now, problems: []record.ClusterProblem{}}
	for _, n := range s.Nodes {
		if n.Member && n.Role == record.NodeVoter {
			l.voters = append(l.voters, n)
			if answers(n) {
				l.answer = append(l.answer, n.ID)
			}
		}
	}
	s.Voters, s.Answer, s.CanLose = len(l.voters), len(l.answer), len(l.answer)-l.needed()
	for _, part := range []func(){l.trail, l.quorum, l.members, l.freshness, l.clocks, l.keys, l.secrets, l.stands, l.versions, l.alone} {
		part()
	}
	slices.SortStableFunc(l.problems, func(a, b record.ClusterProblem) int {
		return slices.Index(record.Severities, a.Severity) - slices.Index(record.Severities, b.Severity)
	})
	s.Problems = l.problems
	return s
}

// answers is whether the node was heard when it was asked; gossip may hold it for dead all the same.
func answers(n record.NodeStatus) bool { return n.Level != 0 }

// waits is whether the node will vote by itself once it may.
func waits(n record.NodeStatus) bool {
	return n.Role == record.NodeReplica && n.Wants == record.NodeVoter
}

func (l *look) needed() int { return len(l.voters)/2 + 1 }

func (l *look) say(s record.Severity, code string, nodes []string, what, mend string) {
	l.problems = append(l.problems, record.ClusterProblem{Severity: s, Code: code, Nodes: nodes, What: what, Mend: mend})
}

// which are the nodes of which it holds.
func (l *look) which(is func(record.NodeStatus) bool) (list []string) {
	for _, n := range l.Nodes {
		if is(n) {
			list = append(list, n.ID)
		}
	}
	return list
}

// each says a problem of all nodes that have it, if one has.
func (l *look) each(s record.Severity, code, what, mend string, is func(record.NodeStatus) bool) {
	if list := l.which(is); len(list) > 0 {
		fill := strings.NewReplacer("{nodes}", strings.Join(list, " "), "{first}", list[0], "{why}", l.why(list), "{refused}", l.refused(list), "{mend}", l.mend(list))
		l.say(s, code, list, fill.Replace(what), fill.Replace(mend))
	}
}

func (l *look) trail() {
	l.each(record.Grave, "audit_differs", "The audit trail of {nodes} is not the one that the node which was asked has: one of them was altered.",
		"`veto audit verify --head HASH@REVISION` with a head that was written down tells which; keep both disks.",
		func(n record.NodeStatus) bool { return n.Audit == record.AuditDiffers })
}

func (l *look) quorum() {
	missing := l.which(func(n record.NodeStatus) bool { return n.Member && n.Role == record.NodeVoter && !answers(n) })
	why, mend := l.why(missing), l.mend(missing)
	switch v, a := len(l.voters), len(l.answer); {
	case a < l.needed() || l.Leader == "":
		what := fmt.Sprintf("No leader: %d of %d voters answer, %d are needed. Nothing can be changed; revocations are taken and wait; nodes answer from what they have until it is too stale.", a, v, l.needed())
		mend := "Look at the logs and the network of the voters: they answer, and elect nobody."
		if len(missing) > 0 {
			what += why
			mend = fmt.Sprintf("%sStart %s, each with what is on its disk; nothing else brings back what only they may have. If so many disks are lost for good that no majority is left: `veto cluster recover --help`.", l.refused(missing), strings.Join(missing, " "))
		}
		l.say(record.Grave, "no_leader", missing, what, mend)
	case len(missing) > 0 && a == l.needed():
		l.say(record.Grave, "voter_missing", missing, fmt.Sprintf("%s: %d of %d voters answer, and losing one more stops all changes.%s", doNotAnswer(missing), a, v, why), mend)
	case len(missing) > 0:
		l.say(record.Warning, "voter_missing", missing, fmt.Sprintf("%s: %d of %d voters answer.%s", doNotAnswer(missing), a, v, why), mend)
	case v == 1 && len(l.Nodes) > 1 && !slices.ContainsFunc(l.Nodes, waits):
		l.say(record.Warning, "one_voter", nil, l.voters[0].ID+" alone votes: once it is lost nothing can be changed.",
			"Have three voters: `veto cluster promote` two of the others; where there are not so many, start some.")
	case v > 0 && v%2 == 0:
		spare := l.voters[slices.IndexFunc(l.voters, func(n record.NodeStatus) bool { return n.ID != l.Leader })].ID
		l.say(record.Warning, "even_voters", nil, fmt.Sprintf("%d voters are no safer than %d: of either, %d may be lost.", v, v-1, (v-1)/2),
			fmt.Sprintf("Start one more, or `veto cluster demote %s`.", spare))
	}
}

// why is what was heard in place of the nodes' answers: one that is down is mended otherwise than one that refuses the others, or
// is refused.
func (l *look) why(list []string) string {
	var all strings.Builder
	for _, n := range l.Nodes {
		if n.Why != "" && slices.Contains(list, n.ID) {
			fmt.Fprintf(&all, " %s: %s.", n.ID, n.Why)
		}
	}
	return all.String()
}

// mend is what mends nodes that do not answer.
func (l *look) mend(list []string) string {
	var removes []string
	for _, id := range list {
		removes = append(removes, "`veto cluster remove "+id+"`")
	}
	return fmt.Sprintf("%sStart %s again, with the line of the first start. If it is gone for good: %s, and start another.", l.refused(list), strings.Join(list, " "), strings.Join(removes, ", "))
}

// refused is what mends those of the nodes that run, and are not heard for what they show.
func (l *look) refused(list []string) string {
	var all strings.Builder
	for _, n := range l.Nodes {
		switch {
		case !slices.Contains(list, n.ID):
		case n.Refused == record.RefusedCluster:
			fmt.Fprintf(&all, "%s runs, and its log says of which cluster it is: if it is of another cluster and is to be of this one, move its data directory away, and start it with an empty one. ", n.ID)
		case n.Refused == record.RefusedCertificate:
			fmt.Fprintf(&all, "%s runs, and certificates are refused: make a new one for who shows one that has ended, or add its authority to ca.pem of who does not know it, and `systemctl reload veto` there. ", n.ID)
		}
	}
	if all.Len() > 0 {
		all.WriteString("Else: ")
	}
	return all.String()
}

func doNotAnswer(list []string) string {
	if len(list) == 1 {
		return list[0] + " does not answer"
	}
	return strings.Join(list, " ") + " do not answer"
}

func (l *look) members() {
	l.each(record.Warning, "replica_missing", "{nodes}: a replica that does not answer.{why}", "{mend}",
		func(n record.NodeStatus) bool { return n.Member && n.Role == record.NodeReplica && !answers(n) })
	l.each(record.Warning, "gossip_lost", "{nodes}: gossip does not hear it, and so it counts as dead: another may take its place, and it is not found at another address.",
		"Open its port for gossip, TCP and UDP, between it and the others. It takes up to a minute after a gossip key was mended.",
		func(n record.NodeStatus) bool {
			return n.Member && answers(n) && (n.State == "dead" || n.State == "unknown")
		})
	if l.Leader != "" {
		l.each(record.Warning, "not_let_in", "{nodes}: found, and not let in yet.{why}",
			"{refused}It takes some seconds. If it stays so, the log of the leader, "+l.Leader+", says why.",
			func(n record.NodeStatus) bool { return !n.Member })
	}
}

func (l *look) freshness() {
	// Without a leader all do.
	l.each(record.Warning, "lags", "{nodes}: what it answers from lags more than 5 s behind.", "Look at its log, its disk and its network; a replica that never catches up: `veto cluster leave {first}`.",
		func(n record.NodeStatus) bool { return l.Leader != "" && n.LagMillis > slowMillis })
	l.each(record.Warning, "silent", "{nodes} did not confirm within 10 s what was revoked on the node that was asked.", "Look at its log and its network.",
		func(n record.NodeStatus) bool {
			return answers(n) && n.Propagation != nil && n.Propagation.P50Millis < 0
		})
}

// clocks says whose clocks are not as those of most nodes, whichever node was asked: its own may be the wrong one.
func (l *look) clocks() {
	var all []int64
	for _, n := range l.Nodes {
		if n.Host != nil {
			all = append(all, n.ClockMillis)
		}
	}
	if len(all) == 0 {
		return
	}
	slices.Sort(all)
	low, high := all[(len(all)-1)/2], all[len(all)/2]
	if high-low > clockMillis {
		l.each(record.Warning, "clock", fmt.Sprintf("Clocks are %d s apart, and as many nodes have the one time as the other: {nodes}.", (high-low)/1000),
			"Look which are right: `timedatectl` on each. "+clockMend, func(n record.NodeStatus) bool { return n.Host != nil })
		return
	}
	l.each(record.Warning, "clock", "{nodes}: the clock is more than 2 s ahead of most nodes': it refuses live tokens as expired, and does not revoke them when they are presented to it.",
		clockMend, func(n record.NodeStatus) bool { return n.Host != nil && n.ClockMillis-high > clockMillis })
	l.each(record.Warning, "clock", "{nodes}: the clock is more than 2 s behind most nodes': it lets expired tokens pass, and takes what it knows for fresher than it is.",
		clockMend, func(n record.NodeStatus) bool { return n.Host != nil && low-n.ClockMillis > clockMillis })
}

// clockMend is what mends a clock.
const clockMend = "Set it right: `timedatectl set-ntp true` there."

func (l *look) keys() {
	l.each(record.Grave, "pepper_locked", "{nodes} cannot read a pepper, and so checks no API key.", "Give it the pepper_key_file of the others, and start it again; or send it SIGHUP, if it had one. Its log names the key.",
		func(n record.NodeStatus) bool { return n.Pepper == record.PepperLocked })
	l.each(record.Note, "no_pepper", "API keys are stored by the SHA-256 of their secrets alone, without a pepper.", "Give {nodes} a pepper_key_file, the same as on all nodes.",
		func(n record.NodeStatus) bool { return n.Pepper == record.PepperNone })
	if l.LeakedKeys > 0 {
		l.say(record.Warning, "leaked_keys", nil, fmt.Sprintf("API keys that go on though anyone can read them somewhere: %d.", l.LeakedKeys),
			"`veto keys list --state leaked` shows which. Roll or revoke them; of the last admin's make another first.")
	}
}

// secrets says what nodes prove themselves with and others do not accept, as when a rotation took a step
// too early.
func (l *look) secrets() {
	for _, n := range l.Nodes {
		if n.Host == nil {
			continue
		}
		if n.Host.Unread != "" {
			l.say(record.Warning, "files_unread", []string{n.ID}, n.ID+" goes on with the certificates and gossip keys that it had: "+n.Host.Unread, "Mend the files; it reads them again by itself.")
		}
		deaf := l.which(func(o record.NodeStatus) bool {
			return o.Host != nil && len(n.Host.GossipKeys) > 0 && !slices.Contains(o.Host.GossipKeys, n.Host.GossipKeys[0])
		})
		if len(deaf) > 0 {
			l.say(record.Grave, "gossip_key_unknown", deaf, fmt.Sprintf("%s cannot read what %s says: it has no gossip key %s.", strings.Join(deaf, " "), n.ID, n.Host.GossipKeys[0]),
				fmt.Sprintf("Add that key to gossip.key of %s as another line, and `systemctl reload veto` there.", strings.Join(deaf, " ")))
		}
		wary := l.which(func(o record.NodeStatus) bool {
			return o.Host != nil && n.Host.Signer != "" && !slices.Contains(o.Host.Authorities, n.Host.Signer)
		})
		if len(wary) > 0 {
			l.say(record.Grave, "authority_unknown", wary, fmt.Sprintf("%s refuses the certificate of %s: it does not believe the authority %s.", strings.Join(wary, " "), n.ID, n.Host.Signer),
				fmt.Sprintf("Add that authority to ca.pem of %s, and `systemctl reload veto` there.", strings.Join(wary, " ")))
		}
	}
}

// stands says what runs out of what nodes stand on.
func (l *look) stands() {
	for _, n := range l.Nodes {
		if n.Host == nil {
			continue
		}
		l.ends(n.ID, "certificate", n.Host.NodeEndsAt, fmt.Sprintf("Where the authority is, move %s.pem and %s-key.pem away, and `veto certs node %s --host ADDRESS --dir certs`; copy the two over those of %s, and `systemctl reload veto` there.", n.ID, n.ID, n.ID, n.ID))
		l.ends(n.ID, "HTTP certificate", n.Host.HTTPEndsAt, fmt.Sprintf("Put a new one into http_cert_file and http_key_file of %s, and `systemctl reload veto` there.", n.ID))
		if n.Host.DiskSize == 0 {
			continue
		}
		if free := n.Host.DiskFree * 100 / n.Host.DiskSize; free < leastDisk {
			s := record.Warning
			if free < leastDiskNow {
				s = record.Grave
			}
			l.say(s, "disk_full", []string{n.ID}, fmt.Sprintf("%s: %d %% of its disk are free. A node that cannot write stops.", n.ID, free), "Make room, or give it a larger disk.")
		}
	}
}

func (l *look) ends(node, what string, at time.Time, mend string) {
	left := at.Sub(l.now)
	if at.IsZero() || left > endsSoon {
		return
	}
	s, text := record.Warning, fmt.Sprintf("The %s of %s ends in %d days, on %s.", what, node, int(left.Hours())/24, at.UTC().Format(time.DateOnly))
	if left < endsNow {
		s = record.Grave
	}
	if left < 0 {
		text = fmt.Sprintf("The %s of %s ended on %s: nobody who connects from now on accepts it.", what, node, at.UTC().Format(time.DateOnly))
	}
	l.say(s, "certificate_ends", []string{node}, text, mend)
}

func (l *look) versions() {
	var newest record.Level
	for _, n := range l.Nodes {
		newest = max(newest, n.Level)
	}
	l.each(record.Warning, "older_nodes", fmt.Sprintf("An older version runs on {nodes} than on others: what needs level %d is refused until the newer one runs on all.", newest), "Upgrade {nodes}.",
		func(n record.NodeStatus) bool { return n.Level != 0 && n.Level < newest })
}

func (l *look) alone() {
	if len(l.voters) == 1 && len(l.Nodes) == 1 {
		l.say(record.Note, "one_node", nil, "There is one node: nothing survives the loss of its disk.", "Found a cluster of three: `veto serve --help`.")
	}
}
