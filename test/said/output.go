package said

import (
	"bytes"
	"sync"
)

// Output is a writer that may be read at any time, from anywhere.
type Output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write keeps what is written.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

// String is all that was written until now.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}
