package constant_test

import (
	"errors"
	"fmt"
	"testing"

	"veto/replication/constant"
)

// disk counts how often it is read.
type disk struct {
	values map[string]string
	failed error
	read   int
}

func (d *disk) Get(key []byte) ([]byte, bool, error) {
	d.read++
	v, ok := d.values[string(key)]
	return []byte(v), ok, d.failed
}

// A1
func TestTellsWhatTheStoreHas(t *testing.T) {
	d := &disk{values: map[string]string{}, failed: errors.New("the disk is on fire")}
	c := constant.New(d)
	get := func(want string, wantOK bool, wantErr error, reads int) {
		t.Helper()
		before := d.read
		v, ok, err := c.Get([]byte("a"))
		if string(v) != want || ok != wantOK || !errors.Is(err, wantErr) || d.read-before != reads {
			t.Errorf("%q %t %v after %d reads", v, ok, err, d.read-before)
		}
	}
	get("", false, d.failed, 1)
	d.failed = nil
	get("", false, nil, 1)
	d.values["a"] = "one"
	get("one", true, nil, 1)
	get("one", true, nil, 0)
}

// A2
func TestForgets(t *testing.T) {
	d := &disk{values: map[string]string{}}
	c := constant.New(d)
	const more, most = 20_000, 16_384
	for i := range more {
		k := fmt.Sprint(i)
		d.values[k] = k
		if v, ok, err := c.Get([]byte(k)); string(v) != k || !ok || err != nil {
			t.Fatalf("%s: %q %t %v", k, v, ok, err)
		}
	}
	if d.read != more {
		t.Fatalf("%d reads", d.read)
	}
	for i := more; i > 0; i-- {
		_, _, _ = c.Get([]byte(fmt.Sprint(i - 1)))
	}
	if again := d.read - more; again < more-most {
		t.Errorf("%d of %d were still known", more-again, more)
	}
}
