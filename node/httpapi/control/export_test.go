package control

import "net/http"

// registered is a mux that tells what was put into it.
type registered struct {
	*http.ServeMux
	patterns *[]string
}

func (r registered) Handle(pattern string, h http.Handler) {
	*r.patterns = append(*r.patterns, pattern)
	r.ServeMux.Handle(pattern, h)
}

func (r registered) HandleFunc(pattern string, h func(http.ResponseWriter, *http.Request)) {
	r.Handle(pattern, http.HandlerFunc(h))
}

// WorkOf is what the request's turn is for.
var WorkOf = workOf

// NewWithRoutes is New, and the patterns of everything that it answers.
func NewWithRoutes(c Config) (http.Handler, []string) {
	var patterns []string
	h := build(c, registered{http.NewServeMux(), &patterns})
	return h, patterns
}
