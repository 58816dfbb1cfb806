package broadcast

import "github.com/nats-io/nats-server/v2/server"

// The accounts. Requests, the feeds and the node's stream are in NODE, in which nobody from outside is. The clients of a
// grant have an account of their own. A client may name any subject for the answer to its request, and the server does
// not hold that against what it may publish: so the subject is one of its own account, where nobody else listens.
const (
	accountNode   = "NODE"
	accountClient = "CLIENT/"
)

// Feeds are the subjects of what other systems are told, all that a client may hear beside its answers.
func Feeds() []string { return []string{"veto.revoked.>", "veto.lifted.>", "veto.key.>"} }

// export lets the accounts of clients have what they need of the node's. No client can import anything.
func export(node *server.Account) error {
	if err := node.AddServiceExport(subjectRequest, nil); err != nil {
		return err
	}
	if err := node.AddServiceExport(SubjectEvents+".*", nil); err != nil {
		return err
	}
	for _, feed := range Feeds() {
		if err := node.AddStreamExport(feed, nil); err != nil {
			return err
		}
	}
	return nil
}

// accountOf is the account of the clients of the grant with the name. It is made when the first comes.
func (g *gatekeeper) accountOf(grant string) (*server.Account, error) {
	g.making.Lock()
	defer g.making.Unlock()
	if a, err := g.server.LookupAccount(accountClient + grant); err == nil {
		return a, nil
	}
	a, err := g.server.RegisterAccount(accountClient + grant)
	if err != nil {
		return nil, err
	}
	for _, feed := range Feeds() {
		if err := a.AddStreamImport(g.node, feed, ""); err != nil {
			return nil, err
		}
	}
	if g.stream {
		// Its own subject, and no other's: an answer may be sent to any subject of the account.
		if err := a.AddServiceImport(g.node, EventsOf(grant), ""); err != nil {
			return nil, err
		}
	}
	if err := a.AddServiceImport(g.node, SubjectRevoke, subjectRequest); err != nil {
		return nil, err
	}
	return a, a.SetServiceImportSharing(g.node, subjectRequest, true)
}
