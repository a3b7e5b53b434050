//go:build unix

package replaycmd_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/standpipe/standpipe/cmd/standpipe/internal/clitest"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/replaycmd"
)

// Ctrl-C while the command waits cancels the replay, and prints its result.
func TestReplay_InterruptCancels(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		var (
			mu      sync.Mutex
			methods []string // guarded by mu
		)
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			methods = append(methods, r.Method)
			mu.Unlock()
			switch r.Method {
			case http.MethodPost:
				json.NewEncoder(w).Encode(running)
			case http.MethodGet:
				if err := syscall.Kill(syscall.Getpid(), signal); err != nil {
					t.Error(err)
				}
				<-r.Context().Done() // the command has given the request up
			case http.MethodDelete:
				json.NewEncoder(w).Encode(cancelled)
			}
		}))
		got := clitest.Run(replaycmd.New, "replay", "a/b", "--destination", "live", "--from", "5", "--address", s.Listener.Addr().String())
		s.Close()
		if got.Code != 1 || !strings.HasPrefix(got.Stdout, "replay cancelled: 1000 events") || got.Stderr != "standpipe: cancelled by an operator\n" {
			t.Errorf("%v: got %+v, want a cancelled replay", signal, got)
		}
		if all := strings.Join(methods, " "); all != "POST GET DELETE" {
			t.Errorf("%v: got the requests %s", signal, all)
		}
	}
}
