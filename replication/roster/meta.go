package roster

import (
	"encoding/json"
	"fmt"
)

// maxMeta is below memberlist's own limit of 512 bytes, over which it panics.
const maxMeta = 400

// Member is a node as gossip has it.
type Member struct {
	// ID is the node's id. PeerAddr is where other nodes reach it, host:port.
	ID       string `json:"-"`
	PeerAddr string `json:"p,omitempty"`
	Region   string `json:"r,omitempty"`
	// Role is voter or replica.
	Role    string `json:"o,omitempty"`
	Version string `json:"v,omitempty"`
	// Expect is how many voters it wants to found a cluster with.
	Expect int `json:"e,omitempty"`
	// Founded tells that it has been part of a cluster; ClusterID is that cluster's.
	Founded   bool   `json:"f,omitempty"`
	ClusterID string `json:"c,omitempty"`
	// Leaving tells that it goes for good.
	Leaving bool `json:"l,omitempty"`
	// State is alive, left or dead.
	State string `json:"-"`
}

func (m Member) encode() ([]byte, error) {
	b, err := json.Marshal(m)
	if err == nil && len(b) > maxMeta {
		err = fmt.Errorf("gossip: this node's region, version and addresses are %d bytes together; at most %d fit", len(b), maxMeta)
	}
	return b, err
}

func decodeMeta(b []byte) (Member, error) {
	var m Member
	if len(b) > maxMeta {
		return m, fmt.Errorf("gossip: a member's meta is %d bytes", len(b))
	}
	err := json.Unmarshal(b, &m)
	return m, err
}
