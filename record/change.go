package record

// Record is one of the records that the cluster agrees on.
type Record interface{ record() }

func (*Issuer) record()      {}
func (*SigningKeys) record() {}
func (*Consumer) record()    {}
func (*APIKey) record()      {}
func (*Revocation) record()  {}
func (*Expiry) record()      {}

// Expiry stands for all revocations kept in buckets below Before. As a change it is always
// Gone.
type Expiry struct{ Before Bucket }

// Change is one record that an applied command wrote or took away. A Gone change holds the
// record as it was, or, for a lifted revocation, one of those that are gone.
type Change struct {
	Record Record
	Gone   bool
}
