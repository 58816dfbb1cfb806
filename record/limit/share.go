package limit

// Whole is all of a rate, in the parts in which shares of it are given.
const Whole = 1 << 24

// Floors is what all nodes have of a rate together without asking: five in a hundred. The rest is
// leased.
const Floors = Whole / 20

// FloorOf is the share of a rate that each of so many nodes has without asking, for good: also when
// it is cut off. A node alone has all.
func FloorOf(nodes int) uint32 {
	if nodes <= 1 {
		return Whole
	}
	return uint32(Floors / nodes)
}

// BurstOf is which part of a burst a node holds that has a share above the floor. Half of it is split evenly
// for good, so that every node has some at once, and half goes with the shares.
func BurstOf(nodes int, share uint32) float64 {
	if nodes <= 1 {
		return 1
	}
	return 0.5/float64(nodes) + 0.5*float64(share)/(Whole-Floors)
}

// Bounds of what is told in one message.
const (
	MaxAsks  = 4096
	MaxDraws = 512
)

// Report is what a node asks for: shares of rates.
type Report struct {
	// Number rises with every report of a node, over its restarts as well: what comes late is
	// known by it.
	Number uint64 `cbor:"1,keyasint"`
	// Last says that the node has now told of all shares that it holds: those that it did not
	// tell of since the Last before, it does not hold.
	Last bool  `cbor:"2,keyasint,omitempty"`
	Asks []Ask `cbor:"3,keyasint,omitempty"`
	// Term is the one that the node knew when it made the report: a leader of a later term, which
	// has seen no numbers yet, knows by it what comes late.
	Term uint64 `cbor:"4,keyasint,omitempty"`
}

// Ask is what a node tells of one key.
type Ask struct {
	_   struct{} `cbor:",toarray"`
	Key string
	// Demand is how much was asked for lately, in thousandths a second.
	Demand uint64
	// Held is the share that the node holds, above the floor.
	Held uint32
	// Rate is the limit, in thousandths a second.
	Rate uint64
	// Refill is how long it takes until the burst is whole again, in milliseconds.
	Refill uint64
}

// Answer grants shares.
type Answer struct {
	// Grants are in the order of the asks.
	Grants []Grant `cbor:"1,keyasint,omitempty"`
}

// Grant is a share of a rate, above the floor, for LeaseMillis from when it was asked for.
type Grant struct {
	_     struct{} `cbor:",toarray"`
	Share uint32
	// Full says that the burst has rested on all nodes: the share comes with its part of it.
	Full bool
}

// LeaseMillis is how long a share is leased for: longer than it takes until another leads.
const LeaseMillis = 5000
