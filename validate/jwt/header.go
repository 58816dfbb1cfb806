package jwt

import (
	"hash/maphash"
	"sync/atomic"
)

// header is what is needed of a JOSE header (RFC 7515 section 4).
type header struct {
	text          string // as presented, in base64url
	alg, typ, kid string
}

// noHeader is that of a token whose header cannot be read.
var noHeader = new(header)

// readHeader reads a header strictly. Keys, URLs and certificates in it are not looked at. An
// extension that must be understood is not, so the token is refused (RFC 7515 section 4.1.11);
// so is b64 (RFC 7797).
func readHeader(part []byte) (*header, bool) {
	decoded, ok := decode(nil, part)
	if !ok {
		return nil, false
	}
	o, ok := readObject(string(decoded), nil)
	if !ok || o.has("crit") || o.has("b64") {
		return nil, false
	}
	h := &header{text: string(part)}
	for _, f := range [...]struct {
		name string
		into *string
	}{{"alg", &h.alg}, {"typ", &h.typ}, {"kid", &h.kid}} {
		if raw := o.get(f.name); raw != "" {
			if *f.into, ok = text(raw); !ok {
				return nil, false
			}
		}
	}
	return h, h.alg != ""
}

// headers remember the last headers that were read: the tokens of an issuer share a few. A header
// is found by the whole of its text.
type headers struct {
	seed  maphash.Seed
	slots [64]atomic.Pointer[header]
}

// maxHeader is the longest text that is remembered, so that all together are small.
const maxHeader = 512

func newHeaders() *headers { return &headers{seed: maphash.MakeSeed()} }

func (x *headers) read(part []byte) (*header, bool) {
	slot := &x.slots[maphash.Bytes(x.seed, part)%uint64(len(x.slots))]
	if h := slot.Load(); h != nil && h.text == string(part) {
		return h, true
	}
	h, ok := readHeader(part)
	if ok && len(part) <= maxHeader {
		slot.Store(h)
	}
	return h, ok
}
