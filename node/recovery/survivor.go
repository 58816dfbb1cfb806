package recovery

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"veto/node"
	"veto/node/intake"
	"veto/record"
	"veto/replication/consensus"
	"veto/replication/machine"
	"veto/replication/store"
)

// openSurvivors opens all of them, for a state that is its own cluster's yet: what revisions they know of must be
// known before another cluster is made of it. The caller closes them.
func (c *Config) openSurvivors(s machine.Reader, paths []string) (all []survivor, err error) {
	of, _, err := machine.Cluster(s)
	if err != nil {
		return nil, err
	}
	for i, path := range paths {
		var x survivor
		info, err := os.Stat(path)
		if err == nil {
			err = c.given(info, paths[:i])
		}
		if err == nil {
			x, err = c.openSurvivor(path, info.IsDir(), of)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("--merge %s: %w", path, err), closeAll(all))
		}
		all = append(all, x)
	}
	return all, nil
}

// given refuses what another path leads to as well: both would be opened, and the one be said to be in use by the other.
func (c *Config) given(info os.FileInfo, before []string) error {
	same := func(other string) bool {
		there, err := os.Stat(other)
		return err == nil && os.SameFile(info, there)
	}
	switch {
	case same(c.Node.DataDir):
		return errors.New("it is the data directory that is restored into")
	case slices.ContainsFunc(before, same):
		return errors.New("it is given twice")
	}
	return nil
}

func closeAll(survivors []survivor) error {
	var all []error
	for _, x := range survivors {
		all = append(all, x.Close())
	}
	return errors.Join(all...)
}

// openSurvivor opens what is of the cluster with the digest key: whatever was founded anew from one has the same.
func (c *Config) openSurvivor(path string, isDir bool, of record.Found) (survivor, error) {
	if isDir {
		d, err := c.openDirectory(path)
		if err == nil && d.digestKey != of.DigestKey {
			err = errors.Join(fmt.Errorf("the node is of another cluster (%s) than the backup (%s)", d.cluster, of.ClusterID), d.Close())
		}
		if err != nil {
			return nil, err
		}
		return d, nil
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) //nolint:gosec // the operator's own file; a pipe that nobody writes is empty, and not waited for
	if err != nil {
		return nil, err
	}
	x := &export{file: f, in: bufio.NewReaderSize(f, record.MaxRevocationText+1), named: intake.New(intake.Config{})}
	if err := x.check(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return x, nil
}

// export is a file as `veto revocations export` writes it. It may be a pipe, so it is read once.
type export struct {
	file  *os.File
	in    *bufio.Reader
	named *intake.Intake // which knows no token, and asks nobody
}

// check refuses what is something else by its first line, before any cluster is made: of such a file every line
// would be refused, and the cluster be there without what was to be merged.
func (x *export) check() error {
	begin, err := x.in.Peek(x.in.Size())
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	line, _, _ := bytes.Cut(bytes.TrimSpace(begin), []byte{'\n'})
	if len(line) == 0 {
		return errors.New("it is empty: the export failed; where there was nothing to export, leave it out")
	}
	if _, err := revocationOf(x.named, bytes.TrimSpace(line)); err != nil {
		return fmt.Errorf("this is neither a data directory nor an export of `veto revocations export`: its first line is no revocation (%w)", err)
	}
	return nil
}

func (x *export) Close() error { return x.file.Close() }

func (x *export) through() record.Revision { return 0 }

func (x *export) without() []string { return nil }

func (x *export) each(fn func(string, record.Revocation) error, wrong func(where, why string)) error {
	for number := 1; ; number++ {
		line, err := x.in.ReadSlice('\n')
		where := fmt.Sprintf("line %d", number)
		if errors.Is(err, bufio.ErrBufferFull) {
			wrong(where, "it is longer than a revocation may be")
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = x.in.ReadSlice('\n')
			}
		} else if line = bytes.TrimSpace(line); len(line) > 0 {
			r, refused := revocationOf(x.named, line)
			if refused != nil && errors.Is(err, io.EOF) {
				return fmt.Errorf("%s, its last, has no end and is no revocation (%w): the export was cut off there, and lacks what followed; export again, or take that line out to go on with the rest", where, refused)
			}
			if refused != nil {
				wrong(where, refused.Error())
			} else if err := fn(where, r); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// revocationOf reads a line as an operator's whose key is bound to nothing.
func revocationOf(named *intake.Intake, line []byte) (record.Revocation, error) {
	b, err := intake.Parse(line)
	if err == nil && b.Token != "" {
		err = record.Invalid("it has a token in place of a name, which no export has")
	}
	if err != nil {
		return record.Revocation{}, err
	}
	return named.Named(&record.APIKey{Roles: []record.Role{record.RoleAdmin}}, b)
}

// directory is the data directory of a node that does not run.
type directory struct {
	store  *store.Store
	outbox *store.Outbox // nil if it lacks that
	log    *consensus.Log
	lacks  []string // parts of which there is only an empty directory
	leftAt time.Time

	// What state and log say together: after a crash the state may have little of what the log has.
	cluster   string
	digestKey record.DigestKey
	servers   []consensus.Server
	peppers   []record.Pepper
}

// openDirectory opens one. It fails while the node runs, and where a part is missing: to open it would make an
// empty one, which passes for all that there was.
func (c *Config) openDirectory(path string) (_ *directory, err error) {
	if _, err := os.Stat(filepath.Join(path, node.StateDir)); err != nil {
		return nil, fmt.Errorf("this is no data directory of a node: %w", err)
	}
	d := &directory{log: &consensus.Log{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
		}
	}()
	if d.store, err = store.Open(filepath.Join(path, node.StateDir), c.options()); err != nil {
		return nil, err
	}
	if err := c.openParts(d, path); err != nil {
		return nil, err
	}
	if err := d.readState(); err != nil {
		return nil, err
	}
	if err := d.log.Behind(d.store.Applied().Index, d.readLog); err != nil {
		return nil, err
	}
	if d.cluster == "" {
		return nil, errors.New("the node was never part of a cluster")
	}
	return d, nil
}

// openParts opens what there is beside the state. What is empty stays so, and is told of each time: it was made by
// an operator who goes on without that part, or a disk is not mounted there.
func (c *Config) openParts(d *directory, path string) error {
	raft := filepath.Join(path, node.RaftDir)
	hasLog, err := consensus.HasLog(raft)
	if err != nil {
		return err
	}
	if hasLog {
		if d.log, err = consensus.OpenLog(raft); err != nil {
			d.log = &consensus.Log{}
			return err
		}
	} else if err := d.lack(path, logDir); err != nil {
		return err
	}
	box := filepath.Join(path, node.OutboxDir)
	empty, err := store.IsEmpty(box)
	if err != nil || empty {
		return d.lack(path, node.OutboxDir)
	}
	d.outbox, err = store.OpenOutbox(box, rand.Reader, c.options())
	return err
}

// lack notes that the directory has nothing of the part, for which it must have an empty directory.
func (d *directory) lack(path, part string) error {
	empty, err := store.IsEmpty(filepath.Join(path, part))
	if err == nil && !empty {
		err = errors.New("what is there is damaged")
	}
	if err != nil {
		return &IncompleteError{Dir: path, Part: part, Err: err}
	}
	d.lacks = append(d.lacks, part)
	return nil
}

// IncompleteError says that a data directory lacks a part of what its node has answered for.
type IncompleteError struct {
	Dir, Part string
	Err       error
}

func (e *IncompleteError) Error() string {
	return fmt.Sprintf("a part of the data directory %s is missing, %s, and with it revocations that were answered for (%s): see that its disk is mounted; "+
		"if it is lost for good, make that directory, empty, to go on without what was in it", e.Dir, e.Part, e.Err)
}

func (e *IncompleteError) Unwrap() error { return e.Err }

func (d *directory) readState() error {
	found, _, err := machine.Cluster(d.store)
	if err != nil {
		return err
	}
	d.cluster, d.digestKey = found.ClusterID, found.DigestKey
	if a := d.store.Applied(); len(a.Configuration) > 0 {
		d.servers = consensus.ServersOf(a.Configuration)
	}
	d.peppers, err = peppersOf(d.store)
	return err
}

// readLog reads what entries behind the state say of the cluster.
func (d *directory) readLog(entries []consensus.Entry) error {
	for _, e := range entries {
		if len(e.Members) > 0 {
			d.servers = e.Members
		}
		if e.Command == nil {
			continue
		}
		c, err := record.DecodeCommand(e.Command)
		if err != nil {
			continue // what this program does not know stops it when it is applied
		}
		switch b := c.Body.(type) {
		case record.Found:
			if d.cluster == "" {
				d.cluster, d.digestKey = b.ClusterID, b.DigestKey
			}
		case record.PutPepper:
			d.peppers = slices.DeleteFunc(d.peppers, func(p record.Pepper) bool { return p.ID == b.Pepper.ID })
			d.peppers = append(d.peppers, b.Pepper)
		}
	}
	return nil
}

func (d *directory) Close() error {
	all := []error{d.log.Close()}
	if d.outbox != nil {
		all = append(all, d.outbox.Close())
	}
	if d.store != nil {
		all = append(all, d.store.Close())
	}
	return errors.Join(all...)
}

// through is the last entry that the node has, whether it was committed or not.
func (d *directory) through() record.Revision {
	return record.Revision(max(d.store.Applied().Index, d.log.Last))
}

func (d *directory) without() []string { return d.lacks }

// each gives what the state has, what the log has behind it, committed or not, and what the node took.
func (d *directory) each(fn func(string, record.Revocation) error, _ func(where, why string)) error {
	table := record.TableRevocations.Key()
	err := d.store.Scan(table, record.KeyAfter(table), func(key, value []byte) (bool, error) {
		r, ok, err := record.StoredRevocation(key, value, d.store.Get)
		if err == nil && !ok {
			err = errors.New("the state is damaged: it lacks what revocations of a stream have in common")
		}
		if err != nil {
			return false, err
		}
		return true, fn(place(&r), r)
	})
	if err != nil {
		return err
	}
	err = d.log.Behind(d.store.Applied().Index, func(entries []consensus.Entry) error {
		for _, e := range entries {
			if err := revokedBy(e.Command, fn); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	pending, err := d.pending()
	if err != nil {
		return err
	}
	for _, t := range pending {
		if err := fn(place(&t.Revocation), t.Revocation); err != nil {
			return err
		}
	}
	return nil
}

// pending is what the node took, and its state does not have.
func (d *directory) pending() ([]record.Taken, error) {
	if d.outbox == nil {
		return nil, nil
	}
	return d.outbox.Pending(func(id record.OutboxID) (uint64, error) { return machine.DeliveredThrough(d.store, id) })
}

func place(r *record.Revocation) string {
	return fmt.Sprintf("%s %q of %q", r.Target, r.Value, r.Issuer)
}

// revokedBy gives the revocations of a command; none of one that cannot be read.
func revokedBy(command []byte, fn func(string, record.Revocation) error) error {
	if command == nil {
		return nil
	}
	c, err := record.DecodeCommand(command)
	if err != nil {
		return nil //nolint:nilerr // it is a newer version's, and of other things
	}
	var all []record.Revocation
	switch b := c.Body.(type) {
	case record.Revoke:
		all = b.Revocations
	case record.Deliver:
		for _, t := range b.Items {
			all = append(all, t.Revocation)
		}
	case record.Import:
		for _, item := range b.Items {
			if item.Alike >= 0 && item.Alike < len(b.Alike) {
				r := b.Alike[item.Alike]
				r.Value = item.Value
				all = append(all, r)
			}
		}
	}
	for _, r := range all {
		if err := fn(place(&r), r); err != nil {
			return err
		}
	}
	return nil
}
