package admin

import (
	"fmt"
	"net/http"

	"github.com/standpipe/standpipe/agent/internal/access"
)

// Tail serves live views of streams; a *livetail.Server is one.
type Tail interface {
	// Serve responds to a request for a stream, until mayRead returns an error.
	Serve(w http.ResponseWriter, r *http.Request, stream string, mayRead func() error)
	// Stop ends all views.
	Stop()
}

// serveTail responds with the events of a stream as they are appended. Its caller needs the permission to read the stream.
func (s *Server) serveTail(w http.ResponseWriter, r *http.Request) {
	stream := r.PathValue("stream")
	mayRead := func() error { return nil }
	if s.guard != nil {
		pass, err := s.guard.Admit(shownBy(r))
		if err != nil {
			unauthorized(w, err)
			return
		}
		mayRead = func() error {
			who, err := pass.Holder()
			if err != nil {
				return err
			}
			return checkRead(who, stream)
		}
	}
	if err := mayRead(); err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	s.tail.Serve(w, r, stream, mayRead)
}

// checkRead returns an error unless the caller may read the stream.
func checkRead(who *access.Sender, stream string) error {
	switch {
	case who.MayRead(stream):
		return nil
	case who.Name() == "":
		return fmt.Errorf("a caller with a token of the admin listener's own file may not read; an identity with the setting read may")
	}
	return fmt.Errorf("identity %q may not read stream %q; its setting read allows that", who.Name(), stream)
}

// offersTail returns a function that reports whether the caller of r may have a live view of a stream.
func (s *Server) offersTail(r *http.Request) func(stream string) bool {
	if s.tail == nil || s.guard == nil {
		return func(string) bool { return s.tail != nil }
	}
	shown := shownBy(r)
	who, err := s.guard.Who(&shown)
	return func(stream string) bool { return err == nil && who.MayRead(stream) }
}
