package peer

// NewMux lets a test give its own listener.
var NewMux = newMux
