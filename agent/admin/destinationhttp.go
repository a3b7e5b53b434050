package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"

	"golang.org/x/sync/errgroup"
)

const (
	// maxPlacesBytes bounds the body of an action on many destinations.
	maxPlacesBytes = 1 << 20
	// parallelActions is the number of destinations of one request that change at a time. A pause may wait for open requests.
	parallelActions = 64
)

func (s *Server) offerDestinations(d Destinations) {
	for _, action := range Actions {
		s.mux.HandleFunc("POST /v1/destinations/{stream}/{name}/"+string(action), notFromPages(s.act(d.Act, action)))
		s.mux.HandleFunc("POST /v1/destinations/"+string(action), notFromPages(s.actOnAll(d.Act, action)))
	}
}

// actOnAll handles a POST that applies an action to each of the destinations in its body. A destination at which the action
// fails does not keep the others from it.
func (s *Server) actOnAll(do func(ctx context.Context, stream, name string, a Action) (ActionOutcome, error), action Action) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
			http.Error(w, "Content-Type: want application/json", http.StatusUnsupportedMediaType)
			return
		}
		var choice struct {
			Destinations []Place `json:"destinations"`
		}
		d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxPlacesBytes))
		d.DisallowUnknownFields()
		if err := d.Decode(&choice); err != nil || len(choice.Destinations) == 0 {
			http.Error(w, `want {"destinations": [{"stream": "…", "destination": "…"}, …]}`, http.StatusBadRequest)
			return
		}
		errs := make([]error, len(choice.Destinations))
		var group errgroup.Group
		group.SetLimit(parallelActions)
		for i, at := range choice.Destinations {
			group.Go(func() error {
				_, errs[i] = do(r.Context(), at.Stream, at.Destination, action)
				return nil
			})
		}
		group.Wait()
		outcome := GroupOutcome{Action: action, Refused: []ActionRefusal{}}
		for i, err := range errs {
			if err == nil {
				outcome.Done++
				continue
			}
			outcome.Refused = append(outcome.Refused, ActionRefusal{choice.Destinations[i], err.Error()})
		}
		s.writeJSON(w, outcome)
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
		s.respond(w, outcome, err)
	}
}

// respond writes the outcome of a request as JSON, or its error with the code of the kind.
func (s *Server) respond(w http.ResponseWriter, outcome any, err error) {
	switch {
	case err == nil:
		s.writeJSON(w, outcome)
	case errors.Is(err, ErrNoDestination), errors.Is(err, ErrNoReplay):
		http.Error(w, err.Error(), http.StatusNotFound)
	case errors.Is(err, ErrConflict):
		http.Error(w, err.Error(), http.StatusConflict)
	case errors.Is(err, ErrRange):
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
	case errors.Is(err, ErrUnavailable):
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	default:
		s.fail(w, err)
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
