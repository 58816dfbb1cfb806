package broadcast

import "github.com/nats-io/nats-server/v2/server"

// The accounts. The nodes' own traffic is in NODES, the feeds and the node's stream are in PUBLIC, in which
// nobody from outside is. The clients of a grant have an account of their own. A client may name any subject for the
// answer to its request, and the server does not hold that against what it may publish: so the subject is one of
// its own account, where nobody else listens.
//
// The account of a grant is one node's, whose name it has: other nodes' servers know none of that name, and
// what they are told of its subscriptions they pass over. Feeds, requests and answers go through the accounts
// that all have.
const (
	accountNodes  = "NODES"
	accountPublic = "PUBLIC"
	accountClient = "CLIENT/"
)

// Feeds are the subjects of what other systems are told, all that a client may hear beside its answers.
func Feeds() []string { return []string{"veto.revoked.>", "veto.lifted.>", "veto.key.>"} }

// export lets the accounts of clients have what they need of these two. No client can import anything.
func export(nodes, public *server.Account) error {
	if err := nodes.AddServiceExport(subjectRequest, nil); err != nil {
		return err
	}
	if err := public.AddServiceExport(SubjectEvents+".*", nil); err != nil {
		return err
	}
	for _, feed := range Feeds() {
		if err := public.AddStreamExport(feed, nil); err != nil {
			return err
		}
	}
	return nil
}

// accountOf is the account of the clients of the grant with the name. It is made when the first comes, and
// anew when that has gone: the server drops it, and cuts off who is in it, when its routes change.
func (g *gatekeeper) accountOf(grant string) (*server.Account, error) {
	g.making.Lock()
	defer g.making.Unlock()
	name := accountClient + g.node + "/" + grant
	if a, err := g.server.LookupAccount(name); err == nil {
		return a, nil
	}
	nodes, err := g.server.LookupAccount(accountNodes)
	if err != nil {
		return nil, err
	}
	public, err := g.server.LookupAccount(accountPublic)
	if err != nil {
		return nil, err
	}
	a, err := g.server.RegisterAccount(name)
	if err != nil {
		return nil, err
	}
	for _, feed := range Feeds() {
		if err := a.AddStreamImport(public, feed, ""); err != nil {
			return nil, err
		}
	}
	if g.stream {
		// Its own subject, and no other's: an answer may be sent to any subject of the account.
		if err := a.AddServiceImport(public, EventsOf(grant), ""); err != nil {
			return nil, err
		}
	}
	if err := a.AddServiceImport(nodes, SubjectRevoke, subjectRequest); err != nil {
		return nil, err
	}
	return a, a.SetServiceImportSharing(nodes, subjectRequest, true)
}
