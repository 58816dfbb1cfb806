package replication

import (
	"context"
	"time"

	"veto/record"
)

// adoptEvery is how often a node looks for what others have taken and not brought into the log. What
// it sees for the second time it brings itself.
const adoptEvery = 5 * time.Second

// adopt proposes what other nodes told this one that they had taken, and the log still lacks: they may
// be gone, or reach this node and no leader. They propose it as well, and with the same numbers: so it
// is done once, whoever is first. Seen has, for each outbox, the number that was lacking before.
func (r *Replica) adopt(ctx context.Context, seen map[record.OutboxID]uint64) map[record.OutboxID]uint64 {
	lacking := map[record.OutboxID]uint64{}
	for _, d := range r.index.Undelivered() {
		if d.Outbox == r.outboxID {
			continue
		}
		lacking[d.Outbox] = d.First
		if seen[d.Outbox] != d.First { // the first number is 1
			continue
		}
		if _, err := r.deliver(ctx, d); err != nil {
			if ctx.Err() == nil {
				r.config.Log.Warn("revocations that another node took are not in the log yet; this node tries again to bring them", "revocations", len(d.Items), "error", err)
			}
			continue
		}
		r.config.Log.Info("brought revocations into the log that another node took and did not bring", "revocations", len(d.Items))
	}
	return lacking
}
