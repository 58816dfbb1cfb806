package node

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"veto/node/httpapi"
	"veto/node/httpapi/control"
	"veto/node/httpapi/data"
	"veto/node/httpapi/gate"
	"veto/node/httpapi/leaks"
	"veto/record"
	"veto/replication/backup"
	"veto/replication/machine"
	"veto/validate/apikey"
	"veto/validate/keyset"
)

const (
	headerLimit = 10 * time.Second
	idleLimit   = 2 * time.Minute
	bodyLimit   = 30 * time.Second // for all of a request, but for streams
	closeLimit  = 5 * time.Second
	writeLimit  = time.Minute // longer than anyone may wait for a receipt
	maxHeaders  = 32 << 10
	dialLimit   = time.Second
	socketMode  = 0o660
	mostWaiting = 1024 // questions, for their min_revision

	mostAhead   = 128  // requests of the control plane, for theirs
	maxRequests = 1024 // under way on the control plane, streams among them
	maxImports  = 16
	maxExports  = 16
	maxShare    = 8   // of the imports, and of the exports, for one operator
	maxStreams  = 256 // of events
	maxWatching = 64  // of these, of one operator

	turnCalm  = 300 * time.Microsecond
	turnSlice = 500 * time.Microsecond

	strangerRate  = 20 // a second, from one address
	strangerBurst = 100
)

// bounds are what is let onto the listeners.
type bounds struct {
	requests, imports, exports, streams *gate.Places
	importers, exporters, watchers      *gate.Shares
	turns                               *gate.Turns
	callers, strangers                  *gate.Rates
	data, control                       *gate.Listener // once they are open
}

func newBounds(callerRate int) *bounds {
	return &bounds{
		requests: gate.NewPlaces(maxRequests), imports: gate.NewPlaces(maxImports), exports: gate.NewPlaces(maxExports), streams: gate.NewPlaces(maxStreams),
		importers: gate.NewShares(maxShare), exporters: gate.NewShares(maxShare), watchers: gate.NewShares(maxWatching),
		callers:   gate.NewRates(gate.Rate{PerSecond: float64(callerRate), Burst: 2 * float64(callerRate)}),
		strangers: gate.NewRates(gate.Rate{PerSecond: strangerRate, Burst: strangerBurst}),
	}
}

// openHTTP opens both listeners before it serves on either, so that a port in use is told
// before anyone is answered.
func (n *Node) openHTTP(context.Context) error {
	signers, err := n.config.signers()
	if err != nil {
		return err
	}
	dataListener, err := n.listen(dataPort)
	if err != nil {
		return err
	}
	controlListener, err := n.listen(controlPort)
	if err != nil {
		return errors.Join(err, dataListener.Close())
	}
	n.bounds.data, n.bounds.control = dataListener, controlListener
	listeners := []net.Listener{dataListener}
	if n.config.Socket != "" {
		local, err := listenLocal(n.config.Socket)
		if err != nil {
			return errors.Join(err, dataListener.Close(), controlListener.Close())
		}
		listeners = append(listeners, local)
	}
	if err := n.openTurns(n.serveData(listeners)); err != nil {
		return errors.Join(err, controlListener.Close())
	}
	n.serveControl(controlListener, signers)
	return nil
}

// openTurns has the control plane make room for validations, as soon as there are any.
func (n *Node) openTurns(validations *data.Server) (err error) {
	processors := runtime.GOMAXPROCS(0)
	n.bounds.turns, err = gate.NewTurns(gate.TurnsConfig{
		Most: max(1, processors/2), Took: validations.Took, Processors: processors, Calm: turnCalm, Slice: turnSlice,
		Echo: func() (io.ReadCloser, io.WriteCloser, error) { return os.Pipe() }, Now: time.Now, After: time.After,
	})
	if err == nil {
		n.opened(n.bounds.turns.Close)
	}
	return err
}

// listenLocal takes the place of a socket on which nobody answers any more. Its mode lets the
// node's user and group connect.
func listenLocal(path string) (net.Listener, error) {
	ctx, cancel := context.WithTimeout(context.Background(), dialLimit)
	defer cancel()
	if c, err := new(net.Dialer).DialContext(ctx, "unix", path); err == nil {
		return nil, errors.Join(fmt.Errorf("socket: another process answers on %s; give another --socket", path), c.Close())
	}
	if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("socket: %w", err)
		}
	}
	l, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("socket: %w; give another --socket", err)
	}
	if err := os.Chmod(path, socketMode); err != nil {
		return nil, errors.Join(fmt.Errorf("socket: %w", err), l.Close())
	}
	return l, nil
}

func (n *Node) serveData(listeners []net.Listener) *data.Server {
	server := data.New(data.Config{
		Validator: n.validator, Revisions: n.view, Ready: n.checks,
		Wait: httpapi.Wait{Limit: n.config.MinRevisionWait, Most: mostWaiting}, Observe: n.metrics.observe, Trace: n.questions(),
		Now: n.around.Now, TLS: n.clientTLS, Log: n.around.Log,
	})
	n.opened(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
		defer cancel()
		return server.Close(ctx)
	})
	for _, l := range listeners {
		n.wg.Go(func() {
			if err := server.Serve(l); err != nil {
				n.fail(fmt.Errorf("data plane: %w", err))
			}
		})
	}
	return server
}

func (n *Node) serveControl(l net.Listener, signers leaks.Signers) {
	if n.clientTLS != nil {
		l = tls.NewListener(l, n.clientTLS)
	}
	waiting := httpapi.NewWaiting(n.view, httpapi.Wait{Limit: n.config.MinRevisionWait, Most: mostAhead})
	server := gate.NewServer(gate.Limits{
		Header: headerLimit, Body: bodyLimit, Idle: idleLimit, Write: writeLimit, HeaderBytes: maxHeaders,
		Requests: n.bounds.requests, Always: control.Always, Busy: control.Busy,
	}, control.New(control.Config{
		Proposer: n.replica, Validator: n.validator, Records: n.view, Cluster: watched{n.replica, n.canary, n.around.Now}, Peppers: n.replica.Peppers(),
		ParseJWKS: keyset.ParseGiven, Refresh: n.refreshOne, Events: happenings{n.store, n.view}, Closing: n.closed,
		NewKey: func(environment string) (string, record.KeyHash, string, error) {
			return apikey.Generate(rand.Reader, apikey.Form{Prefix: n.config.KeyPrefix, Environment: environment})
		},
		FindKey: func(secret string) (*record.APIKey, bool, bool) {
			return n.view.APIKey(apikey.Hash(secret), new(record.KeyRoom))
		},
		Backup:  n.writeBackup,
		Signers: signers, MarkLeaks: n.config.LeakedKeys == leakedMark,
		NewID: newID, Metrics: n.metrics.handler(), Pprof: n.config.Pprof, Ready: n.checks,
		Now: n.around.Now, Trace: n.controlTrace(), NodeID: n.config.NodeID, Version: n.around.Version, Log: n.around.Log,
		Waiting: waiting,
		Callers: n.bounds.callers, Strangers: n.bounds.strangers, Imports: n.bounds.imports, Exports: n.bounds.exports, Streams: n.bounds.streams,
		Importers: n.bounds.importers, Exporters: n.bounds.exporters, Watchers: n.bounds.watchers,
		Turns: n.bounds.turns,
	}))
	server.ErrorLog = slog.NewLogLogger(n.around.Log.Handler(), slog.LevelDebug)
	n.opened(func() error {
		waiting.Close()
		ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			return server.Close() // whoever is still talking has had time
		}
		return nil
	})
	n.wg.Go(func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			n.fail(fmt.Errorf("control plane: %w", err))
		}
	})
}

// backups are those that this node writes: one at a time, as each reads the whole state.
type backups struct {
	writing sync.Mutex   // held while one is written, and for good once the node closes
	last    atomic.Int64 // when the last was written to its end, in seconds; 0 if none was
}

// writeBackup writes the state as it is now, until ctx ends or the node closes.
func (n *Node) writeBackup(ctx context.Context, w io.Writer) (err error) {
	if !n.backups.writing.TryLock() {
		return record.Conflict("a backup is being made on this node already; wait for it, or ask another node")
	}
	defer n.backups.writing.Unlock()
	// Before the state is held: what it is complete as of may only be later.
	at, fresh := n.around.Now(), n.view.Freshness()
	snap, err := n.store.Snapshot()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, snap.Close()) }()
	found, ok, err := machine.Cluster(snap)
	if err != nil {
		return err
	}
	if !ok {
		return record.Conflict("the cluster is not founded yet")
	}
	level, err := machine.Level(snap)
	if err != nil {
		return err
	}
	err = backup.Write(untilClosed{w, ctx, n.closed}, backup.Header{
		ClusterID: found.ClusterID, Revision: record.Revision(snap.Applied().Index), Term: snap.Applied().Term, Level: level,
		TakenAt: at.UTC().Truncate(time.Millisecond), AsOf: fresh.AsOf.UTC().Truncate(time.Millisecond), Node: n.config.NodeID, Version: n.around.Version,
	}, snap)
	if err == nil {
		n.backups.last.Store(n.around.Now().Unix())
	}
	return err
}

// untilClosed writes until the context ends or the channel is closed.
type untilClosed struct {
	io.Writer
	ctx    context.Context
	closed <-chan struct{}
}

var errClosing = errors.New("the node is closing")

func (u untilClosed) Write(p []byte) (int, error) {
	select {
	case <-u.closed:
		return 0, errClosing
	case <-u.ctx.Done():
		return 0, u.ctx.Err()
	default:
		return u.Writer.Write(p)
	}
}

// checks are what must hold for the node to be ready.
func (n *Node) checks() []httpapi.Check {
	f := n.view.Freshness()
	caughtUp := httpapi.Check{Name: "caught_up", OK: f.Ready, Detail: fmt.Sprintf("revision %d", f.Revision)}
	if !f.Ready {
		caughtUp.Detail = "the node has not yet reached what the leader has committed since the node started"
		if why := n.replica.Waits(); why != "" {
			caughtUp.Detail = why
		}
	}
	fresh := httpapi.Check{Name: "fresh", OK: n.config.ServeStale}
	if f.AsOf.IsZero() {
		fresh.Detail = "the node has not heard of the leader"
	} else {
		age := f.Age(n.around.Now()).Round(time.Millisecond)
		fresh.OK = fresh.OK || age <= n.config.MaxStaleness
		fresh.Detail = fmt.Sprintf("as of %s ago; at most %s", age, n.config.MaxStaleness)
	}
	readsKeys := httpapi.Check{Name: "pepper", OK: !n.view.Locked()}
	if !readsKeys.OK {
		readsKeys.Detail = "the node lacks the key that unwraps a pepper, and can check no API key; its log says what to do"
	}
	return []httpapi.Check{caughtUp, fresh, readsKeys}
}
