package index

import (
	"fmt"

	"veto/record"
)

// open finds of which classes there are revocations on disk, and in which buckets. It reads one key of
// each, so that a node answers as soon, however many there are; the builder reads the others.
func (t *tables) open(disk Disk) error {
	for from, more := (record.Entry{}), true; more; {
		var first *record.Entry
		err := disk.Revocations(from, func(e record.Entry) bool {
			first = &e
			return false
		})
		if err != nil || first == nil {
			return err
		}
		number := first.Digest.Class()
		if number >= record.Classes {
			return fmt.Errorf("index: there are revocations of class %d, which this version does not know", number)
		}
		if t.revocations[number].Load() == nil {
			t.revocations[number].Store(classOnDisk(number, t.exactMax))
			use(t.used, first.Digest)
		}
		c := t.revocations[number].Load()
		c.mu.Lock()
		c.use(first.Bucket)
		c.mu.Unlock()
		from, more = afterClass(*first)
	}
	return nil
}

// afterClass is where the next class may begin, or the next bucket.
func afterClass(e record.Entry) (from record.Entry, more bool) {
	switch number := e.Digest.Class(); {
	case number < 1<<8-1:
		return record.Entry{Bucket: e.Bucket, Digest: record.Digest{byte(number + 1)}}, true
	case e.Bucket < record.Forever:
		return record.Entry{Bucket: e.Bucket + 1}, true
	}
	return record.Entry{}, false
}
