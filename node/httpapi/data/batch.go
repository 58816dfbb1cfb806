package data

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/valyala/fasthttp"

	"veto/node/httpapi"
	"veto/record"
	"veto/validate"
)

// Bounds of a batch: how many questions it may hold, and its body, in bytes.
const (
	MaxBatch     = 1000
	MaxBatchBody = 4 << 20
)

// chunk is how many questions of a batch one core takes at a time.
const chunk = 16

const batchPath = "/v1/validate/batch"

// batch answers many questions at once, in their order.
func (s *Server) batch(ctx *fasthttp.RequestCtx) {
	questions, problem := readBatch(&ctx.Request)
	if problem != nil {
		writeNamed(ctx, problem.ForRequest(httpapi.NewRequestID()))
		return
	}
	s.waiting.Reach(latest(questions)) // once for all
	verdicts, broke := s.decideAll(questions)
	if broke != nil {
		panic(broke) // to whoever recovers, as a single question would
	}
	oldest := record.Revision(1<<64 - 1)
	s.write(ctx, func(b []byte) []byte {
		b = append(b, `{"verdicts":[`...)
		for i := range verdicts {
			if i > 0 {
				b = append(b, ',')
			}
			b = verdicts[i].AppendJSON(b)
			oldest = min(oldest, verdicts[i].Revision)
		}
		return append(b, "]}"...)
	})
	ctx.Response.Header.Set("Veto-Revision", strconv.FormatUint(uint64(oldest), 10))
}

// decideAll spreads the questions over the cores. A panic of one is given back.
func (s *Server) decideAll(questions []validate.Request) (verdicts []validate.Verdict, broke any) {
	verdicts = make([]validate.Verdict, len(questions))
	var next atomic.Int64
	var mu sync.Mutex
	var wg sync.WaitGroup
	work := func() {
		defer func() {
			if p := recover(); p != nil {
				mu.Lock()
				defer mu.Unlock()
				broke = p
			}
		}()
		for {
			from := int(next.Add(chunk)) - chunk
			if from >= len(questions) {
				return
			}
			for i := from; i < min(from+chunk, len(questions)); i++ {
				verdicts[i] = s.decide(questions[i])
			}
		}
	}
	for range min(runtime.GOMAXPROCS(0), (len(questions)+chunk-1)/chunk) - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
	return verdicts, broke
}

// readBatch reads {"requests": [...]}: each as POST /v1/validate takes it, but for explain. The
// header Veto-Min-Revision holds for all.
func readBatch(r *fasthttp.Request) ([]validate.Request, *httpapi.Problem) {
	if len(r.URI().QueryString()) > 0 {
		return nil, bad("this takes no query parameters")
	}
	if problem := checkType(r.Header.ContentType()); problem != nil {
		return nil, problem
	}
	value, problem := readJSON(r.Body())
	if problem != nil {
		return nil, problem
	}
	m := members{rest: value}
	if m.rest[0] != '{' || !m.next() || string(m.name) != `"requests"` || m.value[0] != '[' {
		return nil, bad(`the body must be {"requests": [...]}`)
	}
	list := elements{rest: slices.Clip(m.value)}
	if m.next() {
		return nil, bad("there is no other field than requests, and that once")
	}
	var questions []validate.Request
	for list.next() {
		if len(questions) == MaxBatch {
			return nil, bad(fmt.Sprintf("at most %d requests in one batch", MaxBatch))
		}
		b, problem := readQuestion(list.value)
		if problem == nil && b.Explain {
			problem = bad("a batch is not explained; ask for this one alone")
		}
		if problem == nil && !b.given {
			problem = bad("there is no credential")
		}
		if problem == nil {
			problem = b.minRevision(r)
		}
		if problem != nil {
			return nil, bad(fmt.Sprintf("requests[%d]: %s", len(questions), problem.Detail))
		}
		questions = append(questions, b.question())
	}
	if len(questions) == 0 {
		return nil, bad("there are no requests")
	}
	return questions, nil
}

// latest is the greatest revision that a question of a batch asks for.
func latest(questions []validate.Request) record.Revision {
	return slices.MaxFunc(questions, func(a, b validate.Request) int {
		return cmp.Compare(a.MinRevision, b.MinRevision)
	}).MinRevision
}
