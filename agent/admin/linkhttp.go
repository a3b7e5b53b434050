package admin

import "net/http"

// Link is the agent's way to its destinations.
type Link interface {
	// SetLink sets the link up or down. Down ends all requests under way, and nothing is sent until the link is up again. Up
	// makes all destinations that wait after a failure try at once, on new connections. It returns at once.
	SetLink(up bool)
}

// LinkState is the response to a change of the link.
type LinkState struct {
	Up bool `json:"up"`
}

func (s *Server) offerLink(l Link) {
	for path, up := range map[string]bool{"up": true, "down": false} {
		s.mux.HandleFunc("POST /v1/link/"+path, notFromPages(func(w http.ResponseWriter, r *http.Request) {
			if err := checkNoForm(r); err != nil {
				http.Error(w, err.Error(), http.StatusUnsupportedMediaType)
				return
			}
			l.SetLink(up)
			s.writeJSON(w, LinkState{Up: up})
		}))
	}
}
