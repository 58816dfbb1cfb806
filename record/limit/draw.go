package limit

// Usage is how much of a key's quota is taken, in the window that begins at Window, in seconds
// since 1970: what was drawn, less what came back.
type Usage struct {
	_      struct{} `cbor:",toarray"`
	Window int64
	Used   uint64
}

// Draw is what a node takes out of a key's quota.
type Draw struct {
	_      struct{} `cbor:",toarray"`
	Key    string
	Window int64
	// Spent was used already, ahead of being drawn; Back was drawn, and will not be used here.
	Spent, Back uint64
	// Want is how much is to be drawn, if at least Parts times as much is left; otherwise less,
	// so that the other nodes have some.
	Want  uint64
	Parts uint32
}

// Drawn is what came of a Draw.
type Drawn struct {
	_ struct{} `cbor:",toarray"`
	// Granted is what the node may use, and Used how much is taken of the quota now.
	Granted, Used uint64
}

// Apply is the usage after the draw, of a quota of limit.
func (u Usage) Apply(d Draw, limit uint64) (Usage, Drawn) {
	if d.Window > u.Window {
		u = Usage{Window: d.Window}
	}
	if d.Window < u.Window {
		return u, Drawn{Used: limit}
	}
	u.Used -= min(d.Back, u.Used)
	u.Used += min(d.Spent, MaxQuota)
	left := uint64(0)
	if u.Used < limit {
		left = limit - u.Used
	}
	granted := min(d.Want, left)
	if part := max(left/uint64(max(d.Parts, 1)), 1); granted > part {
		granted = part
	}
	u.Used += granted
	return u, Drawn{Granted: granted, Used: u.Used}
}
