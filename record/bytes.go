package record

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"time"

	"github.com/fxamacker/cbor/v2"
)

type rawMessage = cbor.RawMessage

// The codec's settings are fixed, so building them cannot fail at run time.
var (
	encoder = must(cbor.EncOptions{
		Sort: cbor.SortCoreDeterministic, ShortestFloat: cbor.ShortestFloat16,
		NaNConvert: cbor.NaNConvert7e00, InfConvert: cbor.InfConvertFloat16,
		IndefLength: cbor.IndefLengthForbidden, Time: cbor.TimeRFC3339NanoUTC,
	}.EncMode())
	decoder = must(decoding(cbor.ExtraDecErrorNone).DecMode())
	whole   = must(decoding(cbor.ExtraDecErrorUnknownField).DecMode())
)

// maxItems are so many as a list or a map may have.
const maxItems = 1 << 16

func decoding(also cbor.ExtraDecErrorCond) cbor.DecOptions {
	return cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden,
		MaxNestedLevels: 16, MaxArrayElements: maxItems, MaxMapPairs: maxItems,
		UTF8: cbor.UTF8DecodeInvalid, ExtraReturnErrors: also,
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Encode returns the deterministic byte form of a record (R1).
func Encode(v any) ([]byte, error) { return encoder.Marshal(v) }

// Decode reads a record into v. It copies what it keeps of b. Fields that it does not know
// are left out, so that an older node reads a newer one's records.
func Decode(b []byte, v any) error { return decoder.Unmarshal(b, v) }

// DecodeKey is Decode for the record of an API key, of which a node reads millions as it starts. Its texts are
// parts of b.
func DecodeKey(b string, k *APIKey) error {
	*k = APIKey{}
	if r := (items{rest: b}); r.key(k) {
		return nil
	}
	*k = APIKey{}
	return Decode([]byte(b), k)
}

// items reads CBOR in the order and the form in which Encode writes it. Of what it does not expect it gives
// nothing, and is odd from then on: what that is, Decode says.
type items struct {
	rest string
	odd  bool
}

// The major types (RFC 8949, section 3.1).
const (
	majorNumber = iota
	majorNegative
	majorBytes
	majorText
	majorArray
	majorMap
)

// cborFalse is false, and the next true (section 3.3).
const cborFalse = 0xf4

// key reads the record of a key, and tells whether it was all that there is.
func (r *items) key(k *APIKey) (ok bool) {
	field := uint64(0)
	for more := r.head(majorMap); more > 0 && !r.odd; more-- {
		before := field
		if field = r.head(majorNumber); field <= before {
			return false
		}
		switch field {
		case 1:
			k.ID = r.text()
		case 2:
			k.Consumer = r.text()
		case 3:
			k.Name = r.text()
		case 4:
			hash := r.take(majorBytes)
			r.odd = r.odd || copy(k.Hash[:], hash) != len(k.Hash) || len(hash) != len(k.Hash)
		case 5:
			k.Hint = r.text()
		case 6:
			k.Scopes = listOf[string](r)
		case 7:
			k.Roles = listOf[Role](r)
		case 8:
			k.Metadata = json.RawMessage(r.take(majorBytes))
		case 9:
			k.ExpiresAt = r.time()
		case 10:
			k.Disabled = r.bool()
		case 11:
			k.CreatedAt = r.time()
		case 12:
			k.Revision = Revision(r.head(majorNumber))
		case 13:
			k.Created = Revision(r.head(majorNumber))
		case 15:
			k.Environment = r.text()
		case 16:
			k.Chain = r.chain()
		case 17:
			k.Imported = r.bool()
		case 18:
			r.other(&k.Rotating)
		case 19:
			k.RolledAt = r.time()
		case 20:
			k.Rolled = Revision(r.head(majorNumber))
		case 30:
			r.other(&k.Limits)
		default:
			return false
		}
	}
	return !r.odd && r.rest == ""
}

// imported reads an Import, and tells whether it was all that there is. The texts of its items are parts of what is read.
func (r *items) imported() (b Import, ok bool) {
	field := uint64(0)
	for more := r.head(majorMap); more > 0 && !r.odd; more-- {
		before := field
		if field = r.head(majorNumber); field <= before {
			return b, false
		}
		switch field {
		case 1:
			b.First = r.head(majorNumber)
		case 2:
			rest, err := whole.UnmarshalFirst([]byte(r.rest), &b.Alike)
			r.odd = r.odd || err != nil
			r.rest = r.rest[len(r.rest)-len(rest):]
		case 3:
			n := r.head(majorArray)
			if r.odd = r.odd || n > uint64(len(r.rest)) || n > maxItems; r.odd {
				return b, false
			}
			b.Items = make([]ImportItem, n)
			for i := range b.Items {
				r.importItem(&b.Items[i])
			}
		case 4:
			b.Sums = []byte(r.take(majorBytes))
		default:
			return b, false
		}
	}
	return b, !r.odd && r.rest == ""
}

func (r *items) importItem(item *ImportItem) {
	r.odd = r.odd || r.head(majorArray) != 2
	major := byte(majorNumber)
	if r.rest != "" && r.rest[0]>>5 == majorNegative {
		major = majorNegative
	}
	n := r.head(major)
	r.odd = r.odd || n > math.MaxInt32
	if item.Alike = int(n); major == majorNegative {
		item.Alike = -1 - int(n)
	}
	item.Value = r.text()
}

// head reads the head of an item of the major type, and gives its argument.
func (r *items) head(major byte) (n uint64) {
	if r.odd = r.odd || r.rest == "" || r.rest[0]>>5 != major; r.odd {
		return 0
	}
	n, r.rest = uint64(r.rest[0]&31), r.rest[1:]
	if n < 24 {
		return n
	}
	size := 1 << (n - 24)
	if r.odd = size > 8 || size > len(r.rest); r.odd {
		return 0
	}
	n = 0
	for _, b := range []byte(r.rest[:size]) {
		n = n<<8 | uint64(b)
	}
	r.rest = r.rest[size:]
	return n
}

// take reads bytes or a text.
func (r *items) take(major byte) (b string) {
	n := r.head(major)
	if r.odd = r.odd || n > uint64(len(r.rest)); r.odd {
		return ""
	}
	b, r.rest = r.rest[:n], r.rest[n:]
	return b
}

func (r *items) text() string { return r.take(majorText) }

func (r *items) bool() (is bool) {
	if r.odd = r.odd || r.rest == "" || r.rest[0]&^1 != cborFalse; r.odd {
		return false
	}
	is, r.rest = r.rest[0] != cborFalse, r.rest[1:]
	return is
}

func (r *items) time() time.Time {
	t, err := time.Parse(time.RFC3339, r.text())
	r.odd = r.odd || err != nil
	return t
}

func (r *items) chain() Chain {
	r.odd = r.odd || r.head(majorArray) != 2
	from, to := r.head(majorNumber), r.head(majorNumber)
	r.odd = r.odd || max(from, to) > math.MaxUint32
	return Chain{From: PepperID(from), To: PepperID(to)}
}

func listOf[T ~string](r *items) []T {
	n := r.head(majorArray)
	if r.odd = r.odd || n > uint64(len(r.rest)) || n > maxItems; r.odd {
		return nil
	}
	all := make([]T, n)
	for i := range all {
		all[i] = T(r.text())
	}
	return all
}

// other reads an item of any form.
func (r *items) other(v any) {
	rest, err := decoder.UnmarshalFirst([]byte(r.rest), v)
	r.odd = r.odd || err != nil
	r.rest = r.rest[len(r.rest)-len(rest):]
}

// errUnknownField says that there is a field that this program does not know.
var errUnknownField = errors.New("a field in it is unknown")

// decodeWhole is Decode for what must be done whole or not at all.
func decodeWhole(b []byte, v any) error {
	err := whole.Unmarshal(b, v)
	var unknown *cbor.UnknownFieldError
	if errors.As(err, &unknown) {
		return errUnknownField
	}
	return err
}

func (k Kind) known() bool { return int(k) < len(kindNames) && kindNames[k] != "" }

// decodeBody gives errUnknownField if there is more in the body than this program knows.
func decodeBody(kind Kind, b []byte) (Body, error) {
	switch kind {
	case KindFound:
		return decodeAs[Found](b)
	case KindPutIssuer:
		return decodeAs[PutIssuer](b)
	case KindDeleteIssuer:
		return decodeAs[DeleteIssuer](b)
	case KindPutSigningKeys:
		return decodeAs[PutSigningKeys](b)
	case KindPutConsumer:
		return decodeAs[PutConsumer](b)
	case KindDeleteConsumer:
		return decodeAs[DeleteConsumer](b)
	case KindCreateKey:
		return decodeAs[CreateKey](b)
	case KindUpdateKey:
		return decodeAs[UpdateKey](b)
	case KindDeleteKey:
		return decodeAs[DeleteKey](b)
	case KindRollKey:
		return decodeAs[RollKey](b)
	case KindKeysUsed:
		return decodeAs[KeysUsed](b)
	case KindPutPepper:
		return decodeAs[PutPepper](b)
	case KindRehashKeys:
		return decodeAs[RehashKeys](b)
	case KindMarkLeaked:
		return decodeAs[MarkLeaked](b)
	case KindPutRole:
		return decodeAs[PutRole](b)
	case KindDeleteRole:
		return decodeAs[DeleteRole](b)
	case KindOpenSession:
		return decodeAs[OpenSession](b)
	case KindEndSession:
		return decodeAs[EndSession](b)
	case KindManageKey:
		return decodeAs[ManageKey](b)
	case KindRevoke:
		return decodeAs[Revoke](b)
	case KindLift:
		return decodeAs[Lift](b)
	case KindExpire:
		return decodeAs[Expire](b)
	case KindDeliver:
		return decodeAs[Deliver](b)
	case KindImport:
		return decodeImport(b)
	case KindDrawQuota:
		return decodeAs[DrawQuota](b)
	case KindChainAudit:
		return decodeAs[ChainAudit](b)
	case KindCutAudit:
		return decodeAs[CutAudit](b)
	case KindRaiseLevel:
		return decodeAs[RaiseLevel](b)
	case KindUpdateConsumer:
		return decodeAs[UpdateConsumer](b)
	}
	return nil, &UnknownCommandError{Format: commandFormat, Kind: kind}
}

// decodeImport does as decodeAs, at a fraction of the cost: each node decodes all lines of a stream.
func decodeImport(b []byte) (Body, error) {
	if i, ok := (&items{rest: string(b)}).imported(); ok {
		return i, nil
	}
	return decodeAs[Import](b)
}

func decodeAs[T Body](b []byte) (Body, error) {
	var v T
	err := decodeWhole(b, &v)
	return v, err
}

// Table is the first byte of a key in the store. The bytes are on disk and never change.
type Table byte

// The tables, with their keys and values.
const (
	TableMeta        Table = 'm' // name -> what the name says; see store
	TableIssuers     Table = 'i' // issuer id -> Issuer
	TableIss         Table = 'n' // iss -> issuer id
	TableSigningKeys Table = 's' // issuer id -> SigningKeys
	TableConsumers   Table = 'c' // consumer id -> Consumer
	TableKeys        Table = 'k' // key id -> APIKey
	TableKeyHashes   Table = 'h' // key hash -> key id
	TableKeysUsed    Table = 'u' // key id -> minute in which it was last used
	TableConsumerKey Table = 'o' // consumer id, 0, key id -> nothing
	TableRoles       Table = 'R' // role -> DefinedRole
	TableRoleKeys    Table = 'K' // role, 0, key id -> nothing
	TableRevocations Table = 'r' // bucket, digest, cut-off -> Revocation, or Alike and its value
	TableAlike       Table = 'A' // bucket, Alike -> Revocation without its value
	TableRequests    Table = 'q' // bucket, sum of caller and Idempotency-Key -> Remembered
	TableAudit       Table = 'a' // revision, number -> trail.Entry
	TableOutboxes    Table = 'b' // outbox id -> Delivered
	TableEvents      Table = 'e' // revision -> event.Entry
	TableUsage       Table = 'l' // key id -> limit.Usage
	TablePortal      Table = 'w' // s, session id -> PortalSession; c, consumer id, 0, session id and m, person id, consumer id -> nothing
	TablePeppers     Table = 'p' // pepper id -> Pepper
)

// Key returns the store key of the parts in the table.
func (t Table) Key(parts ...[]byte) []byte {
	n := 1
	for _, p := range parts {
		n += len(p)
	}
	k := make([]byte, 1, n)
	k[0] = byte(t)
	for _, p := range parts {
		k = append(k, p...)
	}
	return k
}

// KeyAfter is the first key after all that begin with the prefix; nil if there is none.
func KeyAfter(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

// Bytes is the sortable form of the bucket.
func (b Bucket) Bytes() []byte { return binary.BigEndian.AppendUint32(nil, uint32(b)) }

// Bytes is the sortable form of the revision.
func (r Revision) Bytes() []byte { return binary.BigEndian.AppendUint64(nil, uint64(r)) }

// Bytes is the sortable form of the minute.
func (m Minute) Bytes() []byte { return binary.BigEndian.AppendUint64(nil, uint64(m)) }

// Bytes is the sortable form of the id.
func (p PepperID) Bytes() []byte { return binary.BigEndian.AppendUint32(nil, uint32(p)) }

// ParseMinute is the reverse of Bytes.
func ParseMinute(b []byte) (Minute, bool) {
	if len(b) != 8 {
		return 0, false
	}
	return Minute(binary.BigEndian.Uint64(b)), true
}

// RevocationKey is the store key of a revocation with the digest of its name. The cut-off is
// in it, so that revocations are only ever added: none overwrites another.
func RevocationKey(b Bucket, d Digest, cutoff int64) []byte {
	e := Entry{Bucket: b, Digest: d, Cutoff: cutoff}
	return e.AppendKey(make([]byte, 0, 1+4+len(d)+8))
}

// AuditKey is the store key of an entry of the audit trail.
func AuditKey(r Revision, number uint16) []byte {
	return TableAudit.Key(r.Bytes(), binary.BigEndian.AppendUint16(nil, number))
}

// Entry is what the key of a revocation says: all that a look-up needs.
type Entry struct {
	Bucket Bucket
	Digest Digest
	Cutoff int64
}

// AppendKey appends the store key.
func (e *Entry) AppendKey(to []byte) []byte {
	to = binary.BigEndian.AppendUint32(append(to, byte(TableRevocations)), uint32(e.Bucket))
	return binary.BigEndian.AppendUint64(append(to, e.Digest[:]...), uint64(e.Cutoff))
}

// ParseRevocationKey is the reverse of RevocationKey.
func ParseRevocationKey(k []byte) (b Bucket, d Digest, cutoff int64, ok bool) {
	if len(k) != 1+4+len(d)+8 || k[0] != byte(TableRevocations) {
		return 0, d, 0, false
	}
	copy(d[:], k[5:])
	return Bucket(binary.BigEndian.Uint32(k[1:])), d, int64(binary.BigEndian.Uint64(k[5+len(d):])), true
}
