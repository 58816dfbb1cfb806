package roster

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// Config is what a Roster is made of.
type Config struct {
	Self Member
	// Bind is the address to listen on, TCP and UDP; Advertise the host that others are
	// told, Bind's if empty.
	Bind, Advertise string
	// Keys are what members read each other by, 32 bytes each; they speak by the first.
	Keys [][]byte
	// Transport carries gossip instead of sockets at Bind, if it is not nil: Bind is only its name then.
	Transport memberlist.Transport
	Log       *slog.Logger
}

// maxGone bounds the members that are remembered after they left or died.
const maxGone = 1024

// Roster is this node's view of the members. Its methods may be called from anywhere.
type Roster struct {
	list    *memberlist.Memberlist
	keyring *memberlist.Keyring
	log     *slog.Logger
	changed chan struct{}

	mu      sync.Mutex
	self    Member
	meta    []byte
	members map[string]Member // all but self
}

const (
	stateAlive = "alive"
	stateLeft  = "left"
	stateDead  = "dead"
)

// KeyBytes is the length of a gossip key.
const KeyBytes = 32

// maxKeys is how many gossip keys there may be at a time: one, that which replaces it, and one to spare.
const maxKeys = 3

// ParseKeys reads the content of a key file: 32 bytes in base64, and on lines below those that are read as
// well while one replaces another.
func ParseKeys(content []byte) ([][]byte, error) {
	lines := strings.Fields(string(content))
	if len(lines) == 0 || len(lines) > maxKeys {
		return nil, fmt.Errorf("the gossip key's file must have 1 to %d lines, each 32 bytes in base64; `veto certs` makes one", maxKeys)
	}
	keys := make([][]byte, len(lines))
	for i, line := range lines {
		key, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(key) != KeyBytes {
			return nil, fmt.Errorf("line %d of the gossip key's file must be 32 bytes in base64; `veto certs` makes one", i+1)
		}
		keys[i] = key
	}
	return keys, nil
}

// Start listens and is alone until Join. The caller closes it.
func Start(c Config) (*Roster, error) {
	meta, err := c.Self.encode()
	if err != nil {
		return nil, err
	}
	c.Self.State = stateAlive
	r := &Roster{
		log: c.Log, changed: make(chan struct{}, 1), self: c.Self, meta: meta, members: map[string]Member{},
	}
	if r.keyring, err = memberlist.NewKeyring(c.Keys, c.Keys[0]); err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	m, err := r.settings(c)
	if err != nil {
		return nil, err
	}
	r.list, err = memberlist.Create(m)
	if err != nil {
		return nil, fmt.Errorf("the port for gossip: %w", err)
	}
	return r, nil
}

// settings are those for a local network, which also find a dead node within seconds.
func (r *Roster) settings(c Config) (*memberlist.Config, error) {
	host, port, err := splitAddr(c.Bind)
	if err != nil {
		return nil, err
	}
	m := memberlist.DefaultLANConfig()
	m.Name, m.BindAddr, m.BindPort, m.AdvertisePort = c.Self.ID, host, port, port
	m.AdvertiseAddr, m.Transport = c.Advertise, c.Transport
	m.Keyring, m.GossipVerifyIncoming, m.GossipVerifyOutgoing = r.keyring, true, true
	m.DeadNodeReclaimTime = 5 * time.Second // who it is certificates prove, not addresses
	m.Delegate, m.Events, m.Alive, m.Conflict = delegate{r}, delegate{r}, delegate{r}, delegate{r}
	m.LogOutput = lines{r.log}
	return m, nil
}

func splitAddr(addr string) (string, int, error) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, fmt.Errorf("gossip: %w", err)
	}
	port, err := strconv.Atoi(text)
	return host, port, err
}

// Addr is where it listens.
func (r *Roster) Addr() string { return r.list.LocalNode().Address() }

// Join meets the members at the addresses and through them all others. It returns how many
// answered, and an error if none did. It blocks for up to some seconds an address.
func (r *Roster) Join(addrs []string) (int, error) { return r.list.Join(addrs) }

// Members are all members, this node and those that left or died lately included, by id.
func (r *Roster) Members() []Member {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := []Member{r.self}
	for _, m := range r.members {
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// Self is what this node says of itself.
func (r *Roster) Self() Member {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.self
}

// Changed has something in it after a member came, went or changed.
func (r *Roster) Changed() <-chan struct{} { return r.changed }

// Change changes what this node says of itself; the others hear of it in a moment, for which
// it does not wait.
func (r *Roster) Change(f func(self *Member)) error { return r.change(f, 0) }

// change waits for up to the limit until the others were told; zero does not wait.
func (r *Roster) change(f func(self *Member), limit time.Duration) error {
	r.mu.Lock()
	self := r.self
	f(&self)
	meta, err := self.encode()
	if err == nil {
		r.self, r.meta = self, meta
	}
	r.mu.Unlock()
	if err != nil {
		return err
	}
	r.tell()
	if limit == 0 {
		// Without a limit memberlist waits for good, and who has left would never be done. Its only error is that
		// it did not wait for long enough.
		_ = r.list.UpdateNode(time.Nanosecond)
		return nil
	}
	return r.list.UpdateNode(limit)
}

// SetKeys has the keys take the place of those before, the first to speak by. Members that know none of
// another's keys lose sight of each other: so a new key comes to all as one to read by, then to all as the
// first, and then the old one goes.
func (r *Roster) SetKeys(keys [][]byte) error {
	var all []error
	for _, k := range keys {
		all = append(all, r.keyring.AddKey(k))
	}
	all = append(all, r.keyring.UseKey(keys[0]))
	for _, was := range r.keyring.GetKeys() {
		if !slices.ContainsFunc(keys, func(k []byte) bool { return bytes.Equal(k, was) }) {
			all = append(all, r.keyring.RemoveKey(was))
		}
	}
	if err := errors.Join(all...); err != nil {
		return fmt.Errorf("gossip: %w", err)
	}
	return nil
}

// Leave tells the others that this node goes for good, and waits for up to twice the limit
// until they have heard. It says so in its own words first:
// memberlist tells those who listen that a member is gone, but not whether it meant to go.
func (r *Roster) Leave(limit time.Duration) error {
	if err := r.change(func(self *Member) { self.Leaving = true }, limit); err != nil {
		return err
	}
	return r.list.Leave(limit)
}

// Close stops without a word: to the others the node has failed, and may come back.
func (r *Roster) Close() error { return r.list.Shutdown() }

func (r *Roster) tell() {
	select {
	case r.changed <- struct{}{}:
	default: // whoever listens has not looked yet, and will see this change, too
	}
}

func (r *Roster) note(n *memberlist.Node, state string) {
	m, err := decodeMeta(n.Meta)
	if err != nil {
		r.log.Warn("gossip: a member's meta cannot be read", "node", n.Name, "error", err)
		return
	}
	m.ID, m.State = n.Name, state
	if state == stateDead && m.Leaving {
		m.State = stateLeft
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.ID == r.self.ID {
		return
	}
	r.members[m.ID] = m
	if len(r.members) > maxGone {
		for id, other := range r.members {
			if other.State != stateAlive {
				delete(r.members, id)
				break
			}
		}
	}
	r.tell()
}

// delegate is called by memberlist, in its own goroutines; nothing in it blocks.
type delegate struct{ r *Roster }

func (d delegate) NodeMeta(limit int) []byte {
	d.r.mu.Lock()
	defer d.r.mu.Unlock()
	return d.r.meta[:min(len(d.r.meta), limit)]
}

func (d delegate) NotifyMsg([]byte)                {}
func (d delegate) GetBroadcasts(_, _ int) [][]byte { return nil }
func (d delegate) LocalState(bool) []byte          { return nil }
func (d delegate) MergeRemoteState([]byte, bool)   {}
func (d delegate) NotifyJoin(n *memberlist.Node)   { d.r.note(n, stateAlive) }
func (d delegate) NotifyUpdate(n *memberlist.Node) { d.r.note(n, stateAlive) }

func (d delegate) NotifyLeave(n *memberlist.Node) { d.r.note(n, stateDead) }

// NotifyAlive refuses members of another cluster. One that has none yet is welcome.
func (d delegate) NotifyAlive(n *memberlist.Node) error {
	m, err := decodeMeta(n.Meta)
	if err != nil {
		return err
	}
	own := d.r.Self().ClusterID
	if own != "" && m.ClusterID != "" && own != m.ClusterID {
		return fmt.Errorf("node %s is of another cluster", n.Name)
	}
	return nil
}

func (d delegate) NotifyConflict(existing, other *memberlist.Node) {
	d.r.log.Error("two nodes have the same id; give one of them another --node-id and an empty data directory",
		"node", existing.Name, "at", existing.Address(), "and_at", other.Address())
}

// lines turns memberlist's log lines into ours.
type lines struct{ log *slog.Logger }

func (l lines) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	level := slog.LevelDebug
	for mark, is := range map[string]slog.Level{"[INFO]": slog.LevelInfo, "[WARN]": slog.LevelWarn, "[ERR]": slog.LevelError} {
		if at := strings.Index(text, mark); at >= 0 {
			level, text = is, strings.TrimSpace(text[at+len(mark):])
			break
		}
	}
	l.log.Log(context.Background(), level, strings.TrimPrefix(text, "memberlist: "))
	return len(line), nil
}
