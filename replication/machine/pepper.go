package machine

import (
	"slices"
	"strconv"

	"veto/record"
)

func pepperKey(id record.PepperID) []byte { return record.TablePeppers.Key(id.Bytes()) }

// secretsKey is where it is kept how many secrets have hashes that begin with each pepper: so that
// it is known whether a pepper can go without looking at every key.
var secretsKey = record.TableMeta.Key([]byte("peppers/secrets"))

// peppers are those of the state, as far as a command has read them.
type peppers struct {
	read    bool
	all     []record.Pepper // oldest first
	secrets map[record.PepperID]uint64
	moved   bool // the secrets were
}

func (x *change) readPeppers() error {
	if x.peppers.read {
		return nil
	}
	err := x.state.Scan(record.TablePeppers.Key(), record.KeyAfter(record.TablePeppers.Key()), func(_, value []byte) (bool, error) {
		var p record.Pepper
		err := record.Decode(value, &p)
		x.peppers.all = append(x.peppers.all, p)
		return true, err
	})
	if err != nil {
		return err
	}
	x.peppers.secrets, _, err = get[map[record.PepperID]uint64](x.state, secretsKey)
	if x.peppers.secrets == nil {
		x.peppers.secrets = map[record.PepperID]uint64{}
	}
	x.peppers.read = err == nil
	return err
}

// newest is the last pepper; zero if there is none.
func (p *peppers) newest() record.PepperID {
	if len(p.all) == 0 {
		return 0
	}
	return p.all[len(p.all)-1].ID
}

// byNewest refuses a hash of a new secret that is not made with the newest pepper alone: it would be
// compared with too few others, and an older pepper would be needed for longer.
func (x *change) byNewest(c record.Chain) error {
	if err := x.readPeppers(); err != nil {
		return err
	}
	if c != record.ChainOf(x.peppers.newest()) {
		return &record.Rejection{
			Reason: record.ReasonPepperChanged, Detail: "the pepper of API keys was changed meanwhile; send it again",
		}
	}
	return nil
}

// tally counts by which peppers the secrets of a key begin.
func (x *change) tally(was, is *record.APIKey) error {
	before, after := chainsOf(was), chainsOf(is)
	if before == after {
		return nil
	}
	if err := x.readPeppers(); err != nil {
		return err
	}
	x.peppers.moved = true
	for i := range before {
		if from := before[i].From; from > 0 {
			x.peppers.secrets[from]--
		}
		if from := after[i].From; from > 0 {
			x.peppers.secrets[from]++
		}
	}
	return nil
}

func chainsOf(k *record.APIKey) (all [2]record.Chain) {
	all[0] = k.Chain
	if k.Rotating != nil {
		all[1] = k.Rotating.Chain
	}
	return all
}

// sealPeppers writes what was counted, once for all keys of the command.
func (x *change) sealPeppers() error {
	if !x.peppers.moved {
		return nil
	}
	return put(x.state, secretsKey, x.peppers.secrets)
}

func (x *change) putPepper(b record.PutPepper) error {
	p := b.Pepper
	if err := p.Check(); err != nil {
		return err
	}
	if err := x.readPeppers(); err != nil {
		return err
	}
	was := record.Pepper{MadeAt: x.stamp}
	all := x.peppers.all
	if i := slices.IndexFunc(all, func(o record.Pepper) bool { return o.ID == p.ID }); i >= 0 {
		was = all[i]
	} else if p.ID != x.peppers.newest()+1 {
		return record.Conflict("another pepper was made meanwhile; `veto pepper status` shows it")
	} else if len(all) == record.MaxPeppers {
		if err := x.dropPepper(&all[0]); err != nil {
			return err
		}
	}
	p.MadeAt, p.WrappedAt, p.Revision = was.MadeAt, x.stamp, x.revision
	x.ref = strconv.FormatUint(uint64(p.ID), 10)
	x.changed(&p, false, x.ref)
	x.audit.altered(x.ref, was, p)
	return put(x.state, pepperKey(p.ID), p)
}

// dropPepper takes the oldest pepper away.
func (x *change) dropPepper(p *record.Pepper) error {
	if n := x.peppers.secrets[p.ID]; n > 0 {
		return &record.Rejection{
			Reason: record.ReasonPeppersInUse,
			Detail: "there are " + strconv.Itoa(record.MaxPeppers) + " peppers, and " + strconv.FormatUint(n, 10) + " secrets of API keys still need the oldest, as they were not used since the next was made; " +
				"wait until they are, or roll or delete these keys, and rotate then: `veto keys list --pepper " + strconv.FormatUint(uint64(p.ID), 10) + "` shows which are left",
		}
	}
	gone := *p
	x.changed(&gone, true, strconv.FormatUint(uint64(p.ID), 10))
	return x.state.Delete(pepperKey(p.ID))
}

// rehashKeys leaves out what is not as the node saw it: a key that was rolled or deleted meanwhile, or
// a hash that is made already. It is no change of a key for anyone but those who look secrets up.
func (x *change) rehashKeys(b record.RehashKeys) error {
	if x.by != "" || len(b.Keys) > record.MaxRehashes {
		return record.Invalid("hashes of keys are made by the nodes, and %d at a time at most", record.MaxRehashes)
	}
	if err := x.readPeppers(); err != nil {
		return err
	}
	for i := range b.Keys {
		if err := x.rehash(&b.Keys[i]); err != nil {
			return err
		}
	}
	return nil
}

func (x *change) rehash(r *record.Rehash) error {
	was, there, err := get[record.APIKey](x.state, keyKey(r.ID))
	if err != nil || !there {
		return err
	}
	k := was
	hash, chain := &k.Hash, &k.Chain
	if was.ByOld(r.Old) {
		old := *was.Rotating
		k.Rotating, hash, chain = &old, &old.Hash, &old.Chain
	}
	newest := x.peppers.newest()
	if *hash != r.Old || r.Chain == *chain || newest == 0 || r.Chain != chain.Through(newest) && r.Chain != record.ChainOf(newest) {
		return nil
	}
	if _, taken, err := x.state.Get(keyHashKey(r.New)); err != nil || taken {
		return err
	}
	*hash, *chain = r.New, r.Chain
	if err := x.state.Delete(keyHashKey(r.Old)); err != nil {
		return err
	}
	if err := x.state.Put(keyHashKey(r.New), []byte(k.ID)); err != nil {
		return err
	}
	if err := x.tally(&was, &k); err != nil {
		return err
	}
	x.changes = append(x.changes, record.Change{Record: &record.Rehashed{Key: &k, Was: &was}})
	return put(x.state, keyKey(k.ID), k)
}
