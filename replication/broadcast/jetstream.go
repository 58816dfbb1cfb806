package broadcast

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// JetStream is the stream of events in this node's own server. Such a node stands alone: of several
// each would have a stream of its own, which is lost with its node.
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
	// anyRoom is what the server may promise to streams: each has a bound of its own, and by a bound of all together none could
	// become greater before another has become less.
	anyRoom         = 1 << 50
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
	o.JetStream, o.StoreDir, o.JetStreamMaxStore, o.JetStreamMaxMemory = true, j.Dir, anyRoom, jetStreamMemory
	o.SyncAlways = true // what a publisher was told is kept survives the machine's crash
}

// openStream gives the node's account its stream.
func (b *Broadcast) openStream(j JetStream) error {
	if j.Dir == "" {
		return nil
	}
	limits := server.JetStreamAccountLimits{
		MaxMemory: jetStreamMemory, MaxStore: anyRoom, MaxStreams: 2, MaxConsumers: 16, MaxAckPending: -1,
		MemoryMaxStreamBytes: -1, StoreMaxStreamBytes: -1,
	}
	if err := b.gate.node.EnableJetStream(map[string]server.JetStreamAccountLimits{"": limits}, nil); err != nil {
		return fmt.Errorf("nats: JetStream: %w", err)
	}
	js, err := jetstream.New(b.conn)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), jetStreamLimit)
	defer cancel()
	streams := []jetstream.StreamConfig{{Name: j.Stream, Subjects: []string{SubjectEvents + ".*"}}}
	if j.DeadLetter != "" {
		streams = append(streams, jetstream.StreamConfig{Name: j.Stream + "_DEAD", Subjects: []string{j.DeadLetter}})
	}
	for _, s := range streams {
		if err := putStream(ctx, js, s, j.MaxBytes/int64(len(streams))); err != nil {
			return fmt.Errorf("nats: the stream %s: %w", s.Name, err)
		}
	}
	return nil
}

// putStream gives a stream so much room, or what it has filled: with less it would drop what nobody has read.
func putStream(ctx context.Context, js jetstream.JetStream, s jetstream.StreamConfig, room int64) error {
	there, err := js.Stream(ctx, s.Name)
	switch {
	case err == nil:
		room = max(room, int64(there.CachedInfo().State.Bytes)) //nolint:gosec // it is the size of files
	case !errors.Is(err, jetstream.ErrStreamNotFound):
		return err
	}
	s.Storage, s.Replicas, s.MaxAge, s.MaxBytes = jetstream.FileStorage, 1, eventAge, room
	s.Discard, s.Duplicates = jetstream.DiscardNew, duplicateWindow
	_, err = js.CreateOrUpdateStream(ctx, s)
	return err
}
