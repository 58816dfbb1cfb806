package node

import (
	"context"
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"veto/node/certs"
	"veto/record"
	"veto/replication/peer"
	"veto/replication/roster"
)

const (
	// filesEvery is how often a node looks whether its certificates and gossip keys are others.
	filesEvery = 10 * time.Second
	// oldGrace is how long what was connected by the certificates before may go on.
	oldGrace = 10 * time.Second
)

// keepCerts reads the certificates, after making them for a node alone that has none, and gives the
// listeners for clients the one that is theirs at the time.
func (n *Node) keepCerts() error {
	dir, now := n.config.CertsDir, n.around.Now()
	if _, err := os.Stat(filepath.Join(dir, certs.AuthorityFile)); errors.Is(err, os.ErrNotExist) && n.config.alone() {
		authority, err := certs.NewAuthority(dir, now)
		if err != nil {
			return err
		}
		if err := authority.Issue(dir, n.config.NodeID, []string{n.config.Bind}, now); err != nil {
			return err
		}
	}
	var err error
	n.certs, err = certs.Keep(certs.Paths{
		Dir: dir, NodeID: n.config.NodeID, HTTPCertificate: n.config.HTTPCertFile, HTTPKey: n.config.HTTPKeyFile,
	}, func(h *certs.Held) error {
		_, err := roster.ParseKeys(h.Gossip)
		return err
	}, n.around.Now)
	if err != nil {
		return err
	}
	if n.config.HTTPCertFile != "" {
		n.clientTLS = &tls.Config{
			MinVersion:     tls.VersionTLS13,
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return n.certs.Held().HTTP, nil },
		}
	}
	return nil
}

func (n *Node) identityOf(h *certs.Held) peer.Identity {
	return peer.Identity{ID: h.Node.NodeID, Certificate: h.Node.Certificate, Authorities: h.Node.Authorities, Cluster: n.cluster}
}

// Reload has the node read its certificates and gossip keys again, as it does by itself every 10 seconds, and
// the keys of the peppers, but not by itself. It does not block; the log says what came of it.
func (n *Node) Reload() { signal(n.reload) }

// renew follows the files until the context ends.
func (n *Node) renew(ctx context.Context) {
	tick := time.NewTicker(filesEvery)
	defer tick.Stop()
	told := "" // what was wrong, which is said once
	var ended *tls.Certificate
	for {
		ended = n.sayEnded(ended)
		asked := false
		select {
		case <-ctx.Done():
			return
		case <-n.reload:
			asked = true
			n.rereadPeppers()
		case <-tick.C:
		}
		before := n.certs.Held()
		changed, err := n.certs.Look()
		switch {
		case err != nil && (asked || err.Error() != told):
			told = err.Error()
			n.around.Log.Error("the certificates and gossip keys as they are on the disk now cannot be used; the node goes on with those that it has", "error", err)
		case err == nil && changed:
			told = ""
			n.take(before, n.certs.Held())
		case err == nil && asked:
			n.around.Log.Info("certificates and gossip keys are as they were")
		}
	}
}

// sayEnded says that the certificate of the HTTP listeners has ended, if that was not said of this one, and returns of which it
// has been. With it the node still answers, but nobody hears that who asks as they should.
func (n *Node) sayEnded(said *tls.Certificate) *tls.Certificate {
	h := n.certs.Held().HTTP
	if h == nil || h == said || n.around.Now().Before(h.Leaf.NotAfter) {
		return said
	}
	n.around.Log.Error("the HTTP certificate has ended, and clients refuse it; put a new one into http_cert_file and http_key_file, which the node reads by itself",
		"ended", h.Leaf.NotAfter.Format(time.RFC3339))
	return h
}

// rereadPeppers goes by the keys of the peppers that are in the file now, if there was one at the start.
func (n *Node) rereadPeppers() {
	if n.ring == nil {
		return
	}
	other, err := n.config.Ring()
	changed := false
	if err == nil {
		changed, err = n.ring.Take(other, n.view.Peppers().Records())
	}
	if err != nil {
		n.around.Log.Error("the keys of the peppers as they are on the disk now cannot be used; the node goes on with those that it has", "error", err)
		return
	}
	if changed {
		n.around.Log.Info("the keys of the peppers were read again", "keys", n.ring.Fingerprints())
	}
	n.view.Unlock()
	for _, p := range n.view.Peppers().Records() {
		if !n.ring.Holds(p.WrappedBy) {
			n.around.Log.Warn("a pepper is wrapped by a key that is not in the file", "pepper", p.ID, "key", p.WrappedBy)
		}
	}
}

// take has all parts go by what the files say now.
func (n *Node) take(before, now *certs.Held) {
	keys, err := roster.ParseKeys(now.Gossip)
	if err == nil {
		err = n.roster.SetKeys(keys)
	}
	if err != nil {
		n.around.Log.Error("the gossip keys could not be changed", "error", err)
	}
	if !now.SameNode(before) {
		n.peers.Renew(n.identityOf(now), oldGrace)
	}
	host := n.host()
	n.around.Log.Info("certificates and gossip keys were read again", "certificate_ends", host.NodeEndsAt.Format(time.RFC3339),
		"signer", host.Signer, "authorities", host.Authorities, "gossip_keys", host.GossipKeys)
}

// host is what the node stands on.
func (n *Node) host() record.NodeHost {
	held := n.certs.Held()
	h := record.NodeHost{
		NodeEndsAt: held.Node.NotAfter, Authorities: held.Node.Believed, Signer: held.Node.Signer, Unread: n.certs.Unread(),
	}
	if held.HTTP != nil {
		h.HTTPEndsAt = held.HTTP.Leaf.NotAfter
	}
	keys, _ := roster.ParseKeys(held.Gossip) // it was parsed before it was taken
	for _, k := range keys {
		h.GossipKeys = append(h.GossipKeys, certs.Fingerprint(k))
	}
	weigh(n.config.DataDir, &h)
	return h
}

// weigh notes the disk of the data directory; nothing if it does not answer.
func weigh(dir string, h *record.NodeHost) {
	var disk unix.Statfs_t
	if unix.Statfs(dir, &disk) == nil {
		h.DiskFree, h.DiskSize = disk.Bavail*uint64(disk.Bsize), disk.Blocks*uint64(disk.Bsize) //nolint:gosec // it is the size of a block
	}
}
