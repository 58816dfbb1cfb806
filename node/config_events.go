package node

import (
	"fmt"
	"net/url"
	"os"
	"strings"

	"veto/node/certs"
)

// EventsConfig is how a node takes revocations from a stream of events, in JetStream. Only the node
// that leads does.
type EventsConfig struct {
	// EventsNATSURL is the NATS server that has the stream, or several with commas between. Who the
	// node is there is in EventsNATSCredsFile or EventsNATSTokenFile, and never in the URL.
	EventsNATSURL       string `koanf:"events_nats_url"`
	EventsNATSCredsFile string `koanf:"events_nats_creds_file"`
	EventsNATSTokenFile string `koanf:"events_nats_token_file"`
	EventsNATSCAFile    string `koanf:"events_nats_ca_file"`
	// EventsStream is the name of the stream, EventsDurable that of the consumer on it, which is made
	// if it is not there.
	EventsStream  string `koanf:"events_stream"`
	EventsDurable string `koanf:"events_durable"`
	// EventsDeadLetterSubject is where goes what is refused; it is only logged if this is empty. A
	// stream must have the subject.
	EventsDeadLetterSubject string `koanf:"events_dead_letter_subject"`
	// EventsOperatorKeyID is the id of the key in whose name events are; it needs the role revoker. If
	// it is empty, the last word of a message's subject is: then the server must see to it that each
	// publisher has a subject of its own, as the one in the node does.
	EventsOperatorKeyID string `koanf:"events_operator_key_id"`
	// EventsEmbedded has the stream in the NATS server of this node, which must be alone;
	// EventsEmbeddedMaxBytes bounds it.
	EventsEmbedded         bool `koanf:"events_embedded"`
	EventsEmbeddedMaxBytes int  `koanf:"events_embedded_max_bytes"`
}

const (
	defaultEventsBytes = 1 << 30
	leastEventsBytes   = 1 << 20
)

func defaultEvents() EventsConfig {
	return EventsConfig{EventsStream: "VETO_EVENTS", EventsDurable: "veto", EventsEmbeddedMaxBytes: defaultEventsBytes}
}

// takesEvents tells whether there is a stream.
func (c *EventsConfig) takesEvents() bool { return c.EventsNATSURL != "" || c.EventsEmbedded }

func (c *Config) checkEvents() error {
	switch {
	case c.EventsNATSURL != "" && c.EventsEmbedded:
		return fmt.Errorf("events_nats_url and events_embedded: the stream is on one of these servers; give one")
	case c.EventsEmbedded && !c.alone():
		return fmt.Errorf("events_embedded: only a node alone has a stream in its own NATS server; give --events-nats-url with a server of yours")
	case c.EventsEmbedded && c.EventsEmbeddedMaxBytes < leastEventsBytes:
		return fmt.Errorf("events_embedded_max_bytes: %d is below %d", c.EventsEmbeddedMaxBytes, leastEventsBytes)
	case !c.takesEvents():
		return nil
	case badName(c.EventsStream) || badName(c.EventsDurable):
		return fmt.Errorf("events_stream and events_durable: give names without spaces, dots, wildcards and slashes")
	case strings.ContainsAny(c.EventsDeadLetterSubject, " \t\r\n*>"):
		return fmt.Errorf("events_dead_letter_subject: %q is not a subject to publish to", c.EventsDeadLetterSubject)
	case c.EventsNATSCredsFile != "" && c.EventsNATSTokenFile != "":
		return fmt.Errorf("events_nats_creds_file and events_nats_token_file: give one")
	}
	for _, one := range strings.Split(c.EventsNATSURL, ",") {
		if u, err := url.Parse(strings.TrimSpace(one)); err != nil || u.User != nil {
			// What is wrong is not repeated: it may hold a password.
			return fmt.Errorf("events_nats_url: is no URL, or has a user in it; give --events-nats-creds-file or --events-nats-token-file for that")
		}
	}
	for name, file := range map[string]string{
		"events_nats_creds_file": c.EventsNATSCredsFile, "events_nats_token_file": c.EventsNATSTokenFile, "events_nats_ca_file": c.EventsNATSCAFile,
	} {
		if file == "" {
			continue
		}
		var err error
		if file == c.EventsNATSCAFile {
			_, err = os.Stat(file)
		} else {
			_, err = certs.ReadSecret(file)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func badName(name string) bool { return name == "" || strings.ContainsAny(name, " \t\r\n.*>/\\") }
