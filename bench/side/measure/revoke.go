package measure

// Revoke is the section on committing revocations.
type Revoke struct {
	Systems []Revoked `json:"systems"`
}

// Revoked is what was measured of one system.
type Revoked struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	About string `json:"about"`
	// Loses says what is lost of what was answered, when one machine stops.
	Loses string `json:"loses"`
	// At are what was found, by the number of writers.
	At []RevokedAt `json:"at"`
	// Bulk is a second, by the way that the system has for many at once.
	Bulk []float64 `json:"bulk"`
}

// RevokedAt are the rounds with so many writers.
type RevokedAt struct {
	Writers int       `json:"writers"`
	Rates   []float64 `json:"rates"`
	P50     float64   `json:"p50_us"`
	P99     float64   `json:"p99_us"`
}
