package record

import (
	"encoding/json"
	"time"
)

const (
	maxName     = 200
	maxMetadata = 16 << 10
)

// Consumer is whom an API key belongs to: a customer, a service, a team.
type Consumer struct {
	// ID names the consumer: 1 to 63 of a-z, 0-9, dash.
	ID string `json:"id" cbor:"1,keyasint"`
	// Name is for people; at most 200 bytes.
	Name string `json:"name,omitempty" cbor:"2,keyasint,omitempty"`
	// Metadata is a JSON object that comes back with every verdict; at most 16 KiB.
	Metadata json.RawMessage `json:"metadata,omitempty" cbor:"3,keyasint,omitempty"`
	// Managers are the subjects who may manage the consumer's keys.
	Managers []string `json:"managers,omitempty" cbor:"4,keyasint,omitempty"`
	// CreatedAt and Revision are set when the command is applied.
	CreatedAt time.Time `json:"created_at,omitzero" cbor:"5,keyasint,omitzero"`
	Revision  Revision  `json:"revision" cbor:"6,keyasint,omitempty"`
}

// Check reports what is wrong with the consumer as an operator gave it, or nil.
func (c *Consumer) Check() error {
	if err := checkID("consumer id", c.ID); err != nil {
		return err
	}
	if len(c.Name) > maxName {
		return Invalid("name: at most %d bytes", maxName)
	}
	if err := checkMetadata(c.Metadata); err != nil {
		return err
	}
	return checkList("managers", c.Managers)
}

func checkMetadata(m json.RawMessage) error {
	if len(m) == 0 {
		return nil
	}
	if len(m) > maxMetadata {
		return Invalid("metadata: at most %d bytes", maxMetadata)
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(m, &object); err != nil || object == nil {
		return Invalid("metadata: must be a JSON object")
	}
	return nil
}
