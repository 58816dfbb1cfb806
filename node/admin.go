package node

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/oklog/ulid/v2"

	"veto/record"
	"veto/replication/store"
	"veto/validate/apikey"
)

// firstAdmin makes the first admin's key. It is kept in a file from before the cluster is
// founded until it was shown, so that a crash in between does not lose it.
type firstAdmin struct {
	dir    string
	prefix string // of the key
	show   func(secret string) error
	// find finds a key of the cluster.
	find func(record.KeyHash, *record.KeyRoom) (k *record.APIKey, old, ok bool)
	log  *slog.Logger
}

func (a *firstAdmin) path() string { return filepath.Join(a.dir, "admin-token.pending") }

func newID(prefix string) string { return prefix + strings.ToLower(ulid.Make().String()) }

// found is the first command of the cluster.
func (a *firstAdmin) found() (record.Found, error) {
	secret, hash, hint, err := apikey.Generate(rand.Reader, apikey.Form{Prefix: a.prefix, Environment: record.OperatorEnvironment})
	if err != nil {
		return record.Found{}, err
	}
	if err := store.ReplaceFile(a.path(), []byte(secret)); err != nil {
		return record.Found{}, fmt.Errorf("the admin's key: %w", err)
	}
	f := record.Found{
		ClusterID: newID("cluster-"), ChainAudit: true,
		Admin: record.APIKey{ID: newID("key_"), Name: "first admin", Hash: hash, Hint: hint, Roles: []record.Role{record.RoleAdmin}},
	}
	_, err = rand.Read(f.DigestKey[:])
	return f, err
}

// founded is called once the cluster is there. It shows the key if the cluster has it, and
// drops one that came to nothing, as another node was first.
func (a *firstAdmin) founded() {
	secret, err := os.ReadFile(a.path())
	if err != nil {
		return // it was shown, or made on another node
	}
	if _, _, ok := a.find(apikey.Hash(string(secret)), new(record.KeyRoom)); ok {
		if err := a.show(string(secret)); err != nil {
			a.log.Error("the first admin's key could not be handed over; it is kept, and handed over when the node starts again", "error", err)
			return
		}
	}
	_ = os.Remove(a.path()) // shown twice does no harm
}
