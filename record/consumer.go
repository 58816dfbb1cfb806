package record

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	maxName     = 200
	maxMetadata = 16 << 10
	maxTags     = 50
	maxTag      = 63
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
	// Tags are for finding consumers: at most 50, each of 1 to 63 of a-z, 0-9 and -._:
	Tags []string `json:"tags,omitempty" cbor:"7,keyasint,omitempty"`
	// Disabled consumers' keys are denied until they are enabled again.
	Disabled bool `json:"disabled" cbor:"8,keyasint,omitempty"`
}

// ConsumerQuery is what consumers are looked for by. The zero query finds all.
type ConsumerQuery struct {
	// Text stands in the id or the name, in capitals or not.
	Text string
	// Tags are all among the consumer's.
	Tags []string
	// Disabled, if it is not nil, is whether the consumer is.
	Disabled *bool
}

// Finds tells whether it finds the consumer.
func (q ConsumerQuery) Finds(c *Consumer) bool {
	text := strings.ToLower(q.Text)
	return (strings.Contains(c.ID, text) || strings.Contains(strings.ToLower(c.Name), text)) &&
		!slices.ContainsFunc(q.Tags, func(t string) bool { return !slices.Contains(c.Tags, t) }) &&
		(q.Disabled == nil || *q.Disabled == c.Disabled)
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
	if err := checkTags(c.Tags); err != nil {
		return err
	}
	return checkList("managers", c.Managers)
}

func checkTags(tags []string) error {
	if len(tags) > maxTags {
		return Invalid("tags: at most %d", maxTags)
	}
	for n, t := range tags {
		if t == "" || len(t) > maxTag || strings.Trim(t, "abcdefghijklmnopqrstuvwxyz0123456789-._:") != "" {
			return Invalid("tags: %.100q: give 1 to %d of a-z, 0-9 and -._:", t, maxTag)
		}
		if slices.Contains(tags[:n], t) {
			return Invalid("tags: %q is there twice", t)
		}
	}
	return nil
}

func checkMetadata(m json.RawMessage) error {
	if len(m) == 0 {
		return nil
	}
	if len(m) > maxMetadata {
		return &Rejection{Reason: ReasonMetadataTooLarge, Detail: fmt.Sprintf("metadata: is %d bytes, and at most %d are kept; keep the rest elsewhere, by the id", len(m), maxMetadata)}
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(m, &object); err != nil || object == nil {
		return Invalid("metadata: must be a JSON object")
	}
	return nil
}

// PutConsumer makes a consumer or replaces one.
type PutConsumer struct {
	Consumer Consumer `cbor:"1,keyasint"`
}

// UpdateConsumer changes what is set of a consumer.
type UpdateConsumer struct {
	ID       string    `cbor:"1,keyasint"`
	Name     *string   `cbor:"2,keyasint,omitempty"`
	Metadata []byte    `cbor:"3,keyasint,omitempty"`
	Managers *[]string `cbor:"4,keyasint,omitempty"`
	Tags     *[]string `cbor:"5,keyasint,omitempty"`
	Disabled *bool     `cbor:"6,keyasint,omitempty"`
}

// DeleteConsumer deletes a consumer and its keys.
type DeleteConsumer struct {
	ID string `cbor:"1,keyasint"`
}

func (PutConsumer) Kind() Kind    { return KindPutConsumer }
func (DeleteConsumer) Kind() Kind { return KindDeleteConsumer }
func (UpdateConsumer) Kind() Kind { return KindUpdateConsumer }
