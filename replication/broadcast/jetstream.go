package broadcast

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// JetStream is the stream of events in this node's own server. Such a server stands alone: it has no
// routes to other nodes, since what JetStream keeps would need a quorum of its own among them.
type JetStream struct {
	// Dir is where it is kept; without it there is none. MaxBytes bounds it.
	Dir      string
	MaxBytes int64
	// Stream is its name. It has the messages of SubjectEvents and one more word: the name of the
	// grant of whoever published it, which nobody else may publish to. DeadLetter, if set, is the
	// subject of a second stream, for what is refused.
	Stream, DeadLetter string
}

// SubjectEvents is where events are published, followed by a dot and the name of the grant.
const SubjectEvents = "veto.events"

const (
	jetStreamMemory = 64 << 20
	eventAge        = 7 * 24 * time.Hour
	duplicateWindow = 10 * time.Minute
	jetStreamLimit  = 10 * time.Second
)

// EventsOf is where the grant with the name publishes events.
func EventsOf(grant string) string { return SubjectEvents + "." + grant }

func (j *JetStream) options(o *server.Options) {
	if j.Dir == "" {
		return
	}
	o.Cluster = server.ClusterOpts{}
	o.JetStream, o.StoreDir, o.JetStreamMaxStore, o.JetStreamMaxMemory = true, j.Dir, j.MaxBytes, jetStreamMemory
	o.SyncAlways = true // what a publisher was told is kept survives the machine's crash
}

// openStream gives the public account its stream.
func (b *Broadcast) openStream(j JetStream) error {
	if j.Dir == "" {
		return nil
	}
	account, err := b.server.LookupAccount(accountPublic)
	if err != nil {
		return err
	}
	limits := server.JetStreamAccountLimits{
		MaxMemory: jetStreamMemory, MaxStore: j.MaxBytes, MaxStreams: 2, MaxConsumers: 16, MaxAckPending: -1,
		MemoryMaxStreamBytes: -1, StoreMaxStreamBytes: -1,
	}
	if err := account.EnableJetStream(map[string]server.JetStreamAccountLimits{"": limits}, nil); err != nil {
		return fmt.Errorf("nats: JetStream: %w", err)
	}
	js, err := jetstream.New(b.public)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), jetStreamLimit)
	defer cancel()
	streams := map[string]string{j.Stream: SubjectEvents + ".*"}
	if j.DeadLetter != "" {
		streams[j.Stream+"_DEAD"] = j.DeadLetter
	}
	for name, subject := range streams {
		_, err = js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
			Name: name, Subjects: []string{subject}, Storage: jetstream.FileStorage, Replicas: 1,
			MaxAge: eventAge, MaxBytes: j.MaxBytes / int64(len(streams)), Discard: jetstream.DiscardNew, Duplicates: duplicateWindow,
		})
		if err != nil {
			return fmt.Errorf("nats: the stream %s: %w", name, err)
		}
	}
	return nil
}
