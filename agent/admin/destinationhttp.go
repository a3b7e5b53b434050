package admin

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
)

func (s *Server) offerDestinations(d Destinations) {
	for _, action := range Actions {
		s.mux.HandleFunc("POST /v1/destinations/{stream}/{name}/"+string(action), notFromPages(s.act(d.Act, action)))
	}
}

// act handles a POST that applies an action. It has no body. If it has one all the same, that must be JSON, as for dead
// letters: a form of a page is not.
func (s *Server) act(do func(ctx context.Context, stream, name string, a Action) (ActionOutcome, error), action Action) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := checkNoForm(r); err != nil {
			http.Error(w, err.Error(), http.StatusUnsupportedMediaType)
			return
		}
		outcome, err := do(r.Context(), r.PathValue("stream"), r.PathValue("name"), action)
		switch {
		case err == nil:
			s.writeJSON(w, outcome)
		case errors.Is(err, ErrNoDestination):
			http.Error(w, err.Error(), http.StatusNotFound)
		case errors.Is(err, ErrConflict):
			http.Error(w, err.Error(), http.StatusConflict)
		case errors.Is(err, ErrUnavailable):
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		default:
			s.fail(w, err)
		}
	}
}

func checkNoForm(r *http.Request) error {
	given := r.Header.Get("Content-Type")
	if given == "" && r.ContentLength == 0 {
		return nil
	}
	if kind, _, err := mime.ParseMediaType(given); err != nil || kind != "application/json" {
		return fmt.Errorf("Content-Type: want application/json, or no body")
	}
	return nil
}
