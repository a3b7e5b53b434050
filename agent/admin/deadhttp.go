package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// maxChoiceBytes bounds the body of a POST.
const maxChoiceBytes = 64 << 10

func (s *Server) offerDead() {
	s.mux.HandleFunc("GET /v1/dead", notFromPages(s.listDead))
	s.mux.HandleFunc("GET /v1/dead/{id}", notFromPages(s.showDead))
	s.mux.HandleFunc("POST /v1/dead/requeue", notFromPages(s.change(s.dead.Requeue)))
	s.mux.HandleFunc("POST /v1/dead/drop", notFromPages(s.change(s.dead.Drop)))
}

// notFromPages rejects requests from pages of other origins in a browser. The status page, which has the server's own
// origin, may make them, and an address that a person typed has no origin and the site "none". For pages whose host name was
// made to resolve to this server see ownHost.
func notFromPages(then http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		site, origin := r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Origin")
		if site != "" && site != "none" && site != "same-origin" || origin != "" && !hasHost(origin, r.Host) {
			http.Error(w, "not for other pages in a browser", http.StatusForbidden)
			return
		}
		then(w, r)
	}
}

// hasHost reports whether an origin is that of a host and its port. A proxy may have ended TLS, so the scheme is not compared.
func hasHost(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, host)
}

func (s *Server) listDead(w http.ResponseWriter, r *http.Request) {
	q, err := readDeadQuery(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	list, err := s.dead.List(r.Context(), q)
	if err != nil {
		s.failDead(w, err)
		return
	}
	if list.Letters == nil {
		list.Letters = []DeadStat{}
	}
	s.writeJSON(w, list)
}

func readDeadQuery(values url.Values) (q DeadQuery, err error) {
	q = DeadQuery{Stream: values.Get("stream"), Destination: values.Get("destination"), Limit: MaxDeadList}
	if text := values.Get("after"); text != "" {
		if q.After, err = strconv.ParseUint(text, 10, 64); err != nil {
			return q, fmt.Errorf("after: want the id of a letter")
		}
	}
	if text := values.Get("limit"); text != "" {
		if q.Limit, err = strconv.Atoi(text); err != nil || q.Limit < 1 || q.Limit > MaxDeadList {
			return q, fmt.Errorf("limit: want 1 to %d", MaxDeadList)
		}
	}
	return q, nil
}

func (s *Server) showDead(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	if err != nil {
		http.Error(w, "want the id of a letter, a number", http.StatusBadRequest)
		return
	}
	letter, err := s.dead.Show(r.Context(), id)
	if err != nil {
		s.failDead(w, err)
		return
	}
	if letter.Attributes == nil {
		letter.Attributes = map[string]string{}
	}
	s.writeJSON(w, letter)
}

// change handles a POST that applies do to the chosen letters.
func (s *Server) change(do func(context.Context, DeadChoice) (DeadOutcome, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
			http.Error(w, "Content-Type: want application/json", http.StatusUnsupportedMediaType)
			return
		}
		choice, err := readChoice(http.MaxBytesReader(w, r.Body, maxChoiceBytes))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		outcome, err := do(r.Context(), choice)
		if err != nil {
			s.failDead(w, err)
			return
		}
		if outcome.Refused == nil {
			outcome.Refused = []DeadRefusal{}
		}
		s.writeJSON(w, outcome)
	}
}

// readChoice reads one JSON object. It rejects unknown fields, since a misspelt one must not choose more letters.
func readChoice(r io.Reader) (c DeadChoice, err error) {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return c, fmt.Errorf("read the choice of letters: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return c, errors.New("read the choice of letters: more than one JSON object")
	}
	return c, c.check()
}

func (s *Server) failDead(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, ErrNoLetter):
		http.Error(w, err.Error(), http.StatusNotFound)
	case errors.Is(err, ErrUnavailable):
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	default:
		s.fail(w, err)
	}
}
