package control

import (
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"veto/node/httpapi/watch"
	"veto/record/event"
)

// Bounds of the streams of events.
const (
	heartbeat = 15 * time.Second
	placeWait = 10 * time.Second
)

// events adds the stream of events, which any operator may read.
func (x *control) events(mux routes) {
	streams := watch.New(watch.Config{
		Source: x.Events, Heartbeat: heartbeat, Patience: streamIdle, Behind: placeWait, Places: x.Streams, Closing: x.Closing, Now: x.Now,
	})
	mux.Handle("GET /v1/events", x.guard(anyOperator, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
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
	}}, "401": {Description: "No operator's key"}, "403": {Description: "Not the role"}, "409": {Description: "The node has not come to the place, or that is of another cluster"}, "410": {Description: "What happened behind the place is kept no more; see detail for what to do"}, "422": {Description: "A wrong place or type"}, "503": {Description: "The node is not ready, or serves as many streams as it can"}}
	api.AddOperation(&o)
}
