package machine

import (
	"veto/record"
	"veto/record/limit"
)

func usageKey(id string) []byte { return record.TableUsage.Key([]byte(id)) }

// Usage reads how much of a key's quota is taken; false if nothing ever was.
func Usage(s Reader, keyID string) (limit.Usage, bool, error) {
	return get[limit.Usage](s, usageKey(keyID))
}

// completed are the limits with their defaults; nil for none.
func completed(l *limit.Limits) *limit.Limits {
	if l == nil || *l == (limit.Limits{}) {
		return nil
	}
	c := *l
	c.Complete()
	return &c
}

// countAnew forgets what was taken of a quota of another period: its window tells nothing of the new
// one, and may begin later.
func (x *change) countAnew(was, k *record.APIKey) error {
	period := func(k *record.APIKey) limit.Period {
		if k.Limits == nil {
			return 0
		}
		return k.Limits.Quota.Period
	}
	if period(was) == period(k) {
		return nil
	}
	return x.state.Delete(usageKey(k.ID))
}

// drawQuota counts what nodes take out of quotas. That is no change of a record: nobody is told,
// and it is not in the audit trail.
func (x *change) drawQuota(b record.DrawQuota) error {
	if len(b.Draws) > limit.MaxDraws {
		return record.Invalid("at most %d draws in one command", limit.MaxDraws)
	}
	for _, d := range b.Draws {
		drawn, err := x.draw(d)
		if err != nil {
			return err
		}
		x.drawn = append(x.drawn, drawn)
	}
	return nil
}

// draw gives nothing of a key that is gone, that has no quota now, or of a window that has not begun
// by the leader's clock.
func (x *change) draw(d limit.Draw) (limit.Drawn, error) {
	k, ok, err := get[record.APIKey](x.state, keyKey(d.Key))
	if err != nil || !ok || k.Limits == nil || k.Limits.Quota == (limit.Quota{}) {
		return limit.Drawn{}, err
	}
	if now, _ := k.Limits.Quota.Period.Window(x.stamp); d.Window > now {
		return limit.Drawn{}, nil
	}
	was, _, err := Usage(x.state, d.Key)
	if err != nil {
		return limit.Drawn{}, err
	}
	usage, drawn := was.Apply(d, k.Limits.Quota.Requests)
	if usage == was {
		return drawn, nil
	}
	return drawn, put(x.state, usageKey(d.Key), usage)
}
