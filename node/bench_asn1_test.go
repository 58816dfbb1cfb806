package node

import (
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"strings"
	"testing"
)

type ecdsaSignature struct{ R, S *big.Int }

func unmarshalSignature(b testing.TB, der []byte) ecdsaSignature {
	b.Helper()
	var s ecdsaSignature
	if _, err := asn1.Unmarshal(der, &s); err != nil {
		b.Fatal(err)
	}
	return s
}

func marshalSignature(b testing.TB, raw []byte) []byte {
	b.Helper()
	half := len(raw) / 2
	der, err := asn1.Marshal(ecdsaSignature{new(big.Int).SetBytes(raw[:half]), new(big.Int).SetBytes(raw[half:])})
	if err != nil {
		b.Fatal(err)
	}
	return der
}

func algOf(b testing.TB, token string) string {
	b.Helper()
	head, err := base64.RawURLEncoding.DecodeString(token[:strings.IndexByte(token, '.')])
	var h struct{ Alg string }
	if err == nil {
		err = json.Unmarshal(head, &h)
	}
	if err != nil {
		b.Fatal(err)
	}
	return h.Alg
}
