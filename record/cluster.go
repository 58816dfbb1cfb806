package record

import "time"

// NodeRole is a node's part in Raft.
type NodeRole string

// The roles of nodes: a voter votes, a replica only follows and answers.
const (
	NodeVoter   NodeRole = "voter"
	NodeReplica NodeRole = "replica"
)

// NodeStatus is what a cluster knows of one of its nodes.
type NodeStatus struct {
	ID      string   `json:"id" cbor:"1,keyasint"`
	Role    NodeRole `json:"role" cbor:"2,keyasint"`
	Region  string   `json:"region,omitempty" cbor:"3,keyasint,omitempty"`
	Address string   `json:"address" cbor:"4,keyasint"`
	// State is alive, suspect, left or dead, as gossip has it; unknown if it has not.
	State   string   `json:"state" cbor:"5,keyasint"`
	Applied Revision `json:"applied" cbor:"6,keyasint"`
	// LagMillis is how far the node's as-of time is behind; -1 when it could not be asked.
	LagMillis int64  `json:"lag_ms" cbor:"7,keyasint"`
	Version   string `json:"version,omitempty" cbor:"8,keyasint,omitempty"`
}

// ClusterStatus is the cluster as one node sees it.
type ClusterStatus struct {
	ID       string       `json:"id"`
	Leader   string       `json:"leader"`
	Revision Revision     `json:"revision"`
	Nodes    []NodeStatus `json:"nodes"`
}

// Receipt is the answer to a revocation: its revision, and where it is enforced by now.
type Receipt struct {
	ID       string   `json:"id"`
	Revision Revision `json:"revision"`
	// State is committed.
	State string `json:"state"`
	// KeptUntil is zero when it is kept until someone lifts it.
	KeptUntil time.Time `json:"kept_until,omitzero"`
	// EnforcedOn names the nodes that said that their index holds it, and no others.
	EnforcedOn []string `json:"enforced_on"`
	PendingOn  []string `json:"pending_on"`
}

// Audit is what the audit trail keeps of one command. It never holds a secret.
type Audit struct {
	Revision Revision  `json:"revision" cbor:"1,keyasint"`
	At       time.Time `json:"at" cbor:"2,keyasint"`
	// By is the id of the API key that asked, or empty for the cluster itself.
	By string `json:"by,omitempty" cbor:"3,keyasint,omitempty"`
	// Action is the kind of the command.
	Action string `json:"action" cbor:"4,keyasint"`
	// Refs are the ids of the records that it changed; at most the first ten.
	Refs []string `json:"refs" cbor:"5,keyasint"`
	// Reason that was given for lifting a revocation.
	Reason string `json:"reason,omitempty" cbor:"6,keyasint,omitempty"`
}

// Remembered is what is kept of a request with an Idempotency-Key, for at least a day.
type Remembered struct {
	Sum    [32]byte `cbor:"1,keyasint"`
	Result Result   `cbor:"2,keyasint"`
}

// Notice is an early word of a revocation, sent ahead of the log. It only adds a denial.
type Notice struct {
	// Cluster is the id of the cluster that it is about; others ignore it.
	Cluster string `cbor:"1,keyasint"`
	// Revision of the committed entry that it comes from (P1).
	Revision    Revision     `cbor:"2,keyasint"`
	Revocations []Revocation `cbor:"3,keyasint"`
}

// Beacon is the leader's word on how far the log reaches. The leader sends one only after a
// majority of the voters has confirmed, later than At, that it leads.
type Beacon struct {
	Cluster string `cbor:"1,keyasint"`
	Leader  string `cbor:"2,keyasint"`
	Term    uint64 `cbor:"3,keyasint"`
	// Commit is the revision that the leader had applied at At or later: all that it had
	// answered for before At is in it.
	Commit Revision  `cbor:"4,keyasint"`
	At     time.Time `cbor:"5,keyasint"`
}
