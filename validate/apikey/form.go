package apikey

import (
	"fmt"
	"hash/crc32"
	"io"
	"math/big"
	"strings"

	"veto/record"
)

// The parts of a key.
const (
	Prefix = "veto" // unless the organisation has its own

	alphabet      = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	separator     = '_'
	leastPrefix   = 2
	mostPrefix    = 16
	randomChars   = 30
	checksumChars = 6
	tailChars     = randomChars + checksumChars
	hintChars     = 4
)

// Form is how a key begins.
type Form struct {
	Prefix      string `json:"prefix"`
	Environment string `json:"environment,omitempty"` // it may be empty
}

func (f Form) String() string {
	if f.Environment == "" {
		return f.Prefix + string(separator)
	}
	return f.Prefix + string(separator) + f.Environment + string(separator)
}

// ValidPrefix tells whether keys can have the prefix.
func ValidPrefix(p string) bool {
	return len(p) >= leastPrefix && len(p) <= mostPrefix && runOf(p, lower) == len(p)
}

// Pattern is a regular expression that finds keys of the prefix in a text, for scanners of leaked
// secrets. It is RE2, Hyperscan and PCRE alike.
func Pattern(prefix string) string {
	return fmt.Sprintf(`\b%s_(?:[a-z0-9]{1,%d}_)?[0-9A-Za-z]{%d}\b`, prefix, record.MaxEnvironment, tailChars)
}

// Generate makes a new key of random bytes. The secret is to be shown once and kept nowhere;
// the hint is safe to keep.
func Generate(random io.Reader, f Form) (secret string, hash record.KeyHash, hint string, err error) {
	// 62^30 is below 2^179; 32 bytes leave no bias that matters.
	raw := make([]byte, 32)
	if _, err := io.ReadFull(random, raw); err != nil {
		return "", hash, "", fmt.Errorf("api key: %w", err)
	}
	body := f.String() + encode(new(big.Int).SetBytes(raw), randomChars)
	secret = body + checksum(body)
	return secret, Hash(secret), hintOf(f, secret), nil
}

// hintOf is what people tell the key by.
func hintOf(f Form, secret string) string { return f.String() + "…" + secret[len(secret)-hintChars:] }

func checksum(body string) string {
	return encode(big.NewInt(int64(crc32.ChecksumIEEE([]byte(body)))), checksumChars)
}

// encode writes the lowest digits of n.
func encode(n *big.Int, digits int) string {
	out, base, rest := make([]byte, digits), big.NewInt(int64(len(alphabet))), new(big.Int)
	for i := digits - 1; i >= 0; i-- {
		n.DivMod(n, base, rest)
		out[i] = alphabet[rest.Int64()]
	}
	return string(out)
}

// Parse tells how a key begins, and what is safe to show of it; false if it is not one that
// Generate could have made.
func Parse(secret string) (f Form, hint string, ok bool) {
	if !wellFormed([]byte(secret)) {
		return f, "", false
	}
	f.Prefix, f.Environment, _ = strings.Cut(secret[:len(secret)-tailChars-1], string(separator))
	return f, hintOf(f, secret), true
}

// Holds tells whether there is a key in the text. The checksum must fit, so that a name which only
// looks like a key is none.
func Holds(text string) bool {
	for end := tailChars; end <= len(text); end++ {
		tail := end - tailChars
		if tail == 0 || text[tail-1] != separator || runOf(text[tail:end], letter) < tailChars {
			continue
		}
		for begin := max(0, tail-mostPrefix-record.MaxEnvironment-2); begin < tail-leastPrefix; begin++ {
			if wellFormed([]byte(text[begin:end])) {
				return true
			}
		}
	}
	return false
}

// wellFormed tells whether the bytes are a key that Generate could have made.
func wellFormed(s []byte) bool {
	if len(s) <= tailChars || !begins(s[:len(s)-tailChars]) || runOf(s[len(s)-tailChars:], letter) < tailChars {
		return false
	}
	body, sum := s[:len(s)-checksumChars], s[len(s)-checksumChars:]
	want := crc32.ChecksumIEEE(body)
	for i := len(sum) - 1; i >= 0; i-- {
		if sum[i] != alphabet[want%62] {
			return false
		}
		want /= 62
	}
	return want == 0
}

// begins tells whether the bytes are a Form's.
func begins(s []byte) bool {
	n := runOf(s, lower)
	if n < leastPrefix || n > mostPrefix || n == len(s) || s[n] != separator {
		return false
	}
	if s = s[n+1:]; len(s) == 0 {
		return true
	}
	n = runOf(s, lower)
	return n >= 1 && n <= record.MaxEnvironment && n == len(s)-1 && s[n] == separator
}

// runOf is how many bytes at the beginning are of the kind.
func runOf[T string | []byte](s T, kind func(byte) bool) int {
	for i := range len(s) {
		if !kind(s[i]) {
			return i
		}
	}
	return len(s)
}

// Which characters are of a kind, by the lower six bits of those below 64 and of those above. Nobody can foresee
// which character of a secret is a digit, so nothing branches on it.
const (
	digits     = 0x3ff << '0'
	lowercase  = 0x3ffffff << ('a' - 64)
	allLetters = lowercase | 0x3ffffff<<('A'-64)
)

func lower(c byte) bool  { return among(c, digits, lowercase) }
func letter(c byte) bool { return among(c, digits, allLetters) }

func among(c byte, below, above uint64) bool {
	if c >= 64 {
		below = above
	}
	return c < 128 && below>>(c&63)&1 != 0
}
