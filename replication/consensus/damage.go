package consensus

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
)

// The form of a segment of raft-wal v0.4.1 (its segment/format.go): a header of 32 bytes, then
// frames of a multiple of 8 bytes: type, three zeros, and the length of what follows, or, of a
// commit frame, the CRC-32C of all since the commit before.
const (
	segmentHeader = 32
	frameHeader   = 8
	frameEntry    = 1
	frameIndex    = 2
	frameCommit   = 3
)

// checkSegments refuses a log in whose middle something is not as it was written. The library
// takes whatever it cannot read for the end of the log, as the last write before a crash may be
// torn; but if a whole batch follows, it was no crash, and what this node promised to keep,
// votes were counted on.
func checkSegments(dir string) error {
	segments, err := filepath.Glob(filepath.Join(dir, logFiles))
	if err != nil {
		return err
	}
	for _, path := range segments {
		b, err := os.ReadFile(path) //nolint:gosec // the operator's own directory
		if err != nil {
			return err
		}
		if at, damaged := damage(bytes.TrimRight(b, "\x00")); damaged {
			return fmt.Errorf("%s is damaged at byte %d, before entries that are whole", path, at)
		}
	}
	return nil
}

// damage finds where the segment breaks off, and tells whether a whole batch follows.
func damage(segment []byte) (at int, damaged bool) {
	end, ok := batch(segment, 0, segmentHeader)
	for ok {
		at = end
		end, ok = batch(segment, at, at)
	}
	for q := at; q+frameHeader <= len(segment); q += frameHeader {
		if kind, _ := frame(segment, q); kind == frameCommit {
			if _, whole := batch(segment, q+frameHeader, q+frameHeader); whole {
				return at, true
			}
		}
	}
	return at, false
}

// batch reads frames from the first on until a commit frame, and checks that its sum is that of
// everything from start on. It returns where the next batch begins.
func batch(segment []byte, start, first int) (next int, ok bool) {
	for at := first; ; {
		kind, size := frame(segment, at)
		if kind == 0 {
			return 0, false
		}
		if kind == frameCommit {
			sum := crc32.Checksum(segment[start:at], crc32.MakeTable(crc32.Castagnoli))
			return at + frameHeader, at > first && sum == binary.LittleEndian.Uint32(segment[at+4:])
		}
		at += size
	}
}

// frame is the kind of the frame at the offset and its size; kind 0 if there is none.
func frame(segment []byte, at int) (kind byte, size int) {
	if at < 0 || at+frameHeader > len(segment) || segment[at+1]|segment[at+2]|segment[at+3] != 0 {
		return 0, 0
	}
	switch segment[at] {
	case frameCommit:
		return frameCommit, frameHeader
	case frameEntry, frameIndex:
		length := int(binary.LittleEndian.Uint32(segment[at+4:]))
		return segment[at], (frameHeader + length + frameHeader - 1) &^ (frameHeader - 1)
	}
	return 0, 0
}
