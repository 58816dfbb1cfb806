package control

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"veto/node/httpapi"
	"veto/node/httpapi/bulk"
	"veto/node/httpapi/gate"
	"veto/node/httpapi/watch"
	"veto/node/intake"
	"veto/record"
	"veto/record/event"
	"veto/record/trail"
)

// streamIdle is how long either side of a stream may be silent.
const streamIdle = time.Minute

const ndjson = "application/x-ndjson"

// bulk adds the streams, which answer while they are sent and so are no operations of huma's.
func (x *control) bulk(mux routes) {
	mux.Handle("POST /v1/revocations/bulk", x.guard(record.RoleRevoker, within(x.Imports, x.Importers, x.unasked(x.importStream))))
	mux.Handle("GET /v1/revocations/export", x.guard(anyOperator, within(x.Exports, x.Exporters, x.unasked(x.exportStream))))
	mux.Handle("GET /v1/audit/export", x.guard(record.RoleAuditor, within(x.Exports, x.Exporters, x.exportAudit)))
	mux.Handle("GET /v1/backup", x.guard(record.RoleAdmin, within(nil, x.Exporters, x.unasked(x.exportBackup))))
}

// within serves in one of the places, of which each operator has a share. What a stream has in memory until the log takes it is a megabyte or more,
// and what it costs goes on for as long as it does: so of streams there are far fewer than of requests.
func within(p *gate.Places, s *gate.Shares, h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := operatorID(r.Context())
		if !s.Take(who) {
			w.Header().Set("Connection", "close") // what it still sends is not waited for
			writeProblem(w, r, httpapi.TooManyTransfers())
			return
		}
		defer s.Leave(who)
		if !p.Take() {
			w.Header().Set("Connection", "close") // what it still sends is not waited for
			writeProblem(w, r, httpapi.Busy())
			return
		}
		defer p.Leave()
		h(w, r)
	})
}

// unasked refuses a query, where there is nothing to choose: nobody must take all for what was asked for.
func (x *control) unasked(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery != "" {
			w.Header().Set("Connection", "close") // what it still sends is not waited for
			x.refuse(w, r, "a query cannot be kept", record.Invalid("this takes no query, and gives or takes all; leave it out"))
			return
		}
		h(w, r)
	}
}

func (x *control) importStream(w http.ResponseWriter, r *http.Request) {
	kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	key := r.Header.Get("Idempotency-Key")
	if key == "" {
		key = x.NewID("bulk_")
	}
	if strings.TrimSpace(kind) != ndjson {
		writeProblem(w, r, httpapi.New(http.StatusUnsupportedMediaType, httpapi.CodeOf(http.StatusUnsupportedMediaType),
			"send one revocation a line, with Content-Type: "+ndjson))
		return
	}
	if err := errors.Join(unconditional(r.Context()), intake.CheckRequestKey(key)); err != nil {
		x.refuse(w, r, "a stream of revocations cannot be named", err)
		return
	}
	r = r.WithContext(gate.WithTurn(r.Context(), nil)) // it has one where it reads, and proposes from several goroutines
	to := x.patient(w, r)
	if err := to.control.EnableFullDuplex(); err != nil {
		x.Log.Warn("a stream of revocations cannot be answered before its end", "request_id", requestID(r.Context()), "error", err)
	}
	w.Header().Set("Content-Type", ndjson)
	w.Header().Set("Idempotency-Key", key)
	// Stop leaves net/http's connection with a context that is done, and perhaps half a body.
	w.Header().Set("Connection", "close")
	importer := bulk.Importer{
		Most:  x.Proposer.MostLines,
		Turn:  x.Turns.Turn(gate.Work{Writes: true}),
		Named: x.intake.Lines(operatorOf(r.Context())).Named,
		Propose: func(ctx context.Context, b record.Import) (record.Result, error) {
			if err := x.stillIs(r, record.RoleRevoker); err != nil {
				return record.Result{}, err
			}
			return x.Proposer.Propose(ctx, record.Command{By: operatorID(ctx), From: originOf(ctx), Request: record.Request{Key: key, Sum: importSum}, Body: b})
		},
		Stop: to.stop,
	}
	err := importer.Import(r.Context(), to, to)
	var nothing *bulk.NotBegun
	switch {
	case errors.As(err, &nothing):
		to.wait() // the sender may have been silent for as long as an answer may take
		x.refuse(w, r, "a stream of revocations cannot be taken", nothing.Reason)
	case err != nil:
		x.Log.Info("a stream of revocations ended early", "request_id", requestID(r.Context()), "error", err)
	}
}

// importSum stands in a request for "a stream": its Idempotency-Key is used for nothing else.
var importSum = [32]byte{'i', 'm', 'p', 'o', 'r', 't'}

func (x *control) exportStream(w http.ResponseWriter, r *http.Request) {
	page := func(cursor string, limit int) ([]record.Revocation, string, error) {
		err := errors.Join(gate.TurnOf(r.Context()).Share(r.Context()), x.stillIs(r, anyOperator))
		if err != nil {
			return nil, "", err
		}
		return x.Records.EveryRevocation(cursor, limit)
	}
	x.export(w, r, "revocations were not exported to the end", func(to io.Writer) error {
		return bulk.Export(to, page)
	})
}

// export answers with what is written, and cuts that off if it fails: so nobody takes what came for the whole.
func (x *control) export(w http.ResponseWriter, r *http.Request, failed string, write func(io.Writer) error) {
	w.Header().Set("Content-Type", ndjson)
	if err := write(x.patient(w, r)); err != nil {
		x.Log.Warn(failed, "request_id", requestID(r.Context()), "error", err)
		panic(http.ErrAbortHandler)
	}
}

// exportAudit writes the audit trail as it is now. What is added meanwhile is left for the next time.
func (x *control) exportAudit(w http.ResponseWriter, r *http.Request) {
	f, err := filterOf(r.URL.RawQuery)
	if err != nil {
		x.refuse(w, r, "the audit trail cannot be read", err)
		return
	}
	x.export(w, r, "the audit trail was not exported to the end", func(to io.Writer) error {
		return trail.Write(to, x.Events.ClusterID(), f, shared{x.Records, r.Context()})
	})
}

// shared are records of which each page of the audit trail is read in a turn.
type shared struct {
	Records
	ctx context.Context
}

func (s shared) Audit(after trail.Entry, limit int) ([]trail.Entry, error) {
	if err := gate.TurnOf(s.ctx).Share(s.ctx); err != nil {
		return nil, err
	}
	return s.Records.Audit(after, limit)
}

// octets is the type of a backup, of which only Veto knows the form.
const octets = "application/octet-stream"

// exportBackup writes the state as it is now.
func (x *control) exportBackup(w http.ResponseWriter, r *http.Request) {
	if !inTurn(w, r) {
		return
	}
	to := &begun{Writer: gate.TurnOf(r.Context()).Paced(r.Context(), &patient{ResponseWriter: w, control: http.NewResponseController(w), body: r.Body, now: x.Now})}
	w.Header().Set("Content-Type", octets)
	err := x.Backup(r.Context(), to)
	switch {
	case err == nil:
		x.Log.Info("a backup was made", "request_id", requestID(r.Context()), "by", operatorID(r.Context()))
	case !to.yes:
		w.Header().Del("Content-Type")
		x.refuse(w, r, "a backup cannot be made", err)
	default:
		// Cut off, so that nobody takes what came for the whole.
		x.Log.Warn("a backup was not written to the end", "request_id", requestID(r.Context()), "by", operatorID(r.Context()), "error", err)
		panic(http.ErrAbortHandler)
	}
}

// begun tells whether anything was written.
type begun struct {
	io.Writer
	yes bool
}

func (b *begun) Write(p []byte) (int, error) {
	b.yes = true
	return b.Writer.Write(p)
}

// filterOf reads which entries are wanted. A parameter that is not known, or empty, or there twice,
// is refused: what was to choose must not be taken for nothing.
func filterOf(query string) (trail.Filter, error) {
	var f trail.Filter
	values, err := url.ParseQuery(query)
	if err != nil {
		return f, record.Invalid("the query cannot be read")
	}
	for name, v := range values {
		if len(v) != 1 || v[0] == "" {
			return f, record.Invalid("%s: give it once, with a value", name)
		}
		switch name {
		case "by":
			f.By = v[0]
		case "action":
			f.Action = v[0]
		case "ref":
			f.Ref = v[0]
		case "since":
			f.Since, err = record.ParseTime(v[0])
		case "until":
			f.Until, err = record.ParseTime(v[0])
		default:
			err = errors.New("unknown")
		}
		if err != nil {
			return f, record.Invalid("choose by by, action and ref, and by since and until, each a time such as 2026-01-31T00:00:00Z")
		}
	}
	return f, nil
}

// patient reads and writes for as long as the other side does something.
type patient struct {
	http.ResponseWriter
	control *http.ResponseController
	body    io.Reader
	now     func() time.Time
}

func (x *control) patient(w http.ResponseWriter, r *http.Request) *patient {
	return &patient{ResponseWriter: w, control: http.NewResponseController(w), body: r.Body, now: x.Now}
}

// wait gives what is written next its time.
func (p *patient) wait() {
	_ = p.control.SetWriteDeadline(p.now().Add(streamIdle)) // without it, the server's own holds
}

// Write sends at once.
func (p *patient) Write(b []byte) (int, error) {
	p.wait()
	n, err := p.ResponseWriter.Write(b)
	if err != nil {
		return n, err
	}
	return n, p.control.Flush()
}

func (p *patient) Read(b []byte) (int, error) {
	_ = p.control.SetReadDeadline(p.now().Add(streamIdle)) // without it, the server's own holds
	return p.body.Read(b)
}

// stop ends a Read that waits.
func (p *patient) stop() { _ = p.control.SetReadDeadline(p.now()) }

const describedTooMany = "You come too often, or have as many of these under way at the node as anybody may"

// describeStreams completes the API's description.
func (x *control) describeStreams(api *huma.OpenAPI) {
	schemas := api.Components.Schemas
	in := operation("revoke-bulk", http.MethodPost, "/v1/revocations/bulk", "Revoke line by line", record.RoleRevoker)
	in.Description += " The body is a stream of lines, each as the body of POST /v1/revocations; the answer comes while it is sent, a line of progress at a time." +
		" Sent again with the same Idempotency-Key, to any node, within a day, it goes on where it was."
	in.RequestBody = &huma.RequestBody{Content: map[string]*huma.MediaType{ndjson: {Schema: schemas.Schema(typeOf[intake.RevokeRequest](), true, "RevokeRequest")}}}
	in.Responses = map[string]*huma.Response{"200": {Description: "The progress; the last line has done or error", Content: map[string]*huma.MediaType{
		ndjson: {Schema: schemas.Schema(typeOf[bulk.Progress](), true, "Progress")},
	}}, "401": {Description: "No operator's key"}, "403": {Description: "Not the role"}, "409": {Description: "The Idempotency-Key is that of another stream"}, "415": {Description: "Not a stream of lines"}, "422": {Description: "A wrong Idempotency-Key, or a query"}, "429": {Description: describedTooMany}, "503": {Description: "The node is not ready"}}
	in.Parameters = []*huma.Param{{
		Name: "Idempotency-Key", In: "header", Description: "Names the stream; one is made, and answered, if there is none",
		Schema: &huma.Schema{Type: huma.TypeString, MaxLength: new(record.MaxRequestKey)},
	}}
	api.AddOperation(&in)
	out := operation("export-revocations", http.MethodGet, "/v1/revocations/export", "All revocations, line by line", anyOperator)
	out.Description += " Each line is what revoke-bulk takes."
	out.Responses = map[string]*huma.Response{"200": {Description: "The revocations", Content: map[string]*huma.MediaType{
		ndjson: {Schema: schemas.Schema(typeOf[intake.RevokeRequest](), true, "RevokeRequest")},
	}}, "401": {Description: "No operator's key"}, "403": {Description: "Not the role"}, "422": {Description: "A query"}, "429": {Description: describedTooMany}, "503": {Description: "The node is not ready"}}
	api.AddOperation(&out)
	audit := operation("export-audit", http.MethodGet, "/v1/audit/export", "The audit trail, line by line", record.RoleAuditor)
	audit.Description += " The first line says of which cluster, up to which head, and whether entries were chosen; chosen ones are no chain."
	for name, doc := range map[string]string{
		"by": "Only those by the API key with this id or name, or cluster", "action": "Only those with this action", "ref": "Only those about the record with this id",
		"since": "Only those from this time on", "until": "Only those before this time",
	} {
		audit.Parameters = append(audit.Parameters, &huma.Param{Name: name, In: "query", Description: doc, Schema: &huma.Schema{Type: huma.TypeString}})
	}
	slices.SortFunc(audit.Parameters, func(a, b *huma.Param) int { return strings.Compare(a.Name, b.Name) })
	audit.Responses = map[string]*huma.Response{"200": {Description: "The entries", Content: map[string]*huma.MediaType{
		ndjson: {Schema: schemas.Schema(typeOf[trail.Entry](), true, "Entry")},
	}}, "401": {Description: "No operator's key"}, "403": {Description: "Not the role"}, "422": {Description: "A wrong choice"}, "429": {Description: describedTooMany}, "503": {Description: "The node is not ready"}}
	api.AddOperation(&audit)
	backup := operation("backup", http.MethodGet, "/v1/backup", "The whole state as it is at one revision, for `veto restore`", record.RoleAdmin)
	backup.Description += " It holds shared secrets of issuers in the clear, and what API keys are stored by. One at a time is made on a node."
	backup.Responses = map[string]*huma.Response{"200": {Description: "The backup; it ends with a checksum, without which it is not whole", Content: map[string]*huma.MediaType{
		octets: {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}},
	}}, "401": {Description: "No operator's key"}, "403": {Description: "Not the role"}, "409": {Description: "Another backup is being made on this node"}, "422": {Description: "A query"}, "429": {Description: describedTooMany}, "503": {Description: "The node is not ready"}}
	api.AddOperation(&backup)
}

// Bounds of the streams of events.
const (
	heartbeat = 15 * time.Second
	placeWait = 10 * time.Second
	// All of them together begin to send 5,000 times a second at most.
	streamSpace = 200 * time.Microsecond
)

// events adds the stream of events, which any operator may read.
func (x *control) events(mux routes) {
	streams := watch.New(watch.Config{
		Source: x.Events, Heartbeat: heartbeat, Patience: streamIdle, Behind: placeWait, Places: x.Streams, Closing: x.Closing, Now: x.Now,
		Space: streamSpace, After: time.After, Turn: func() watch.Turn { return x.Turns.Turn(gate.Work{}) },
	})
	mux.Handle("GET /v1/events", x.guard(anyOperator, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := operatorID(r.Context())
		if !x.Watchers.Take(who) {
			writeProblem(w, r, httpapi.TooManyStreams())
			return
		}
		defer x.Watchers.Leave(who)
		asked, err := watch.Read(r)
		if err == nil {
			// A key that is taken away ends the stream at once: its loss is a revision, too.
			err = streams.Serve(w, r, asked, func() bool {
				_, problem := x.operator(r.Header.Get("Authorization"), anyOperator)
				return problem == nil
			})
		}
		if err != nil {
			x.refuse(w, r, "a stream of events failed", err)
		}
	})))
}

// describeEvents completes the API's description.
func (x *control) describeEvents(api *huma.OpenAPI) {
	schemas := api.Components.Schemas
	o := operation("events", http.MethodGet, "/v1/events", "What happens, as it happens", anyOperator)
	o.Description += " A stream of server-sent events, each a CloudEvent 1.0 in JSON with its id: what happened behind a place, and then what happens." +
		" Sent again with the last id, to any node, it goes on without a gap and without a double for two days. An id without data says how far the stream is."
	o.Parameters = append(o.Parameters, []*huma.Param{
		{Name: "after", In: "query", Description: "The id of the last event that is known; without it the stream begins now", Schema: &huma.Schema{Type: huma.TypeString}},
		{Name: "Last-Event-ID", In: "header", Description: "The same, as browsers send it when they connect again; it goes before after", Schema: &huma.Schema{Type: huma.TypeString}},
		{Name: "types", In: "query", Description: "Types that are wanted, with commas between, or the beginnings of such: veto.revoked,veto.key", Schema: &huma.Schema{Type: huma.TypeString}},
	}...)
	o.Responses = map[string]*huma.Response{"200": {Description: "The stream; data is a CloudEvent", Content: map[string]*huma.MediaType{
		"text/event-stream": {Schema: schemas.Schema(typeOf[event.Event](), true, "Event")},
	}}, "401": {Description: "No operator's key"}, "403": {Description: "Not the role"}, "409": {Description: "The node has not come to the place, or that is of another cluster"}, "410": {Description: "What happened behind the place is kept no more; see detail for what to do"}, "422": {Description: "A wrong place or type"}, "429": {Description: "The operator has as many streams open at the node as it may"}, "503": {Description: "The node is not ready, or serves as many streams as it can"}}
	api.AddOperation(&o)
}
