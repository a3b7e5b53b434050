package client_test

import (
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/standpipe/standpipe/client"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
)

// The application is told once that the agent takes no events, with the reason, and once that it takes them again.
func TestState_OfAnAgentThatTakesNoEvents(t *testing.T) {
	var failing atomic.Bool
	for reason, fails := range map[string]func(f *fakeAgent){
		"UNAVAILABLE": func(f *fakeAgent) { f.cut = func(bool) bool { return failing.Load() } },
		"RESOURCE_EXHAUSTED": func(f *fakeAgent) {
			f.rules = func(*standpipev1.AppendRequest) error {
				if failing.Load() {
					return refusal(codes.ResourceExhausted, "FULL", -1, time.Second)
				}
				return nil
			}
		},
	} {
		t.Run(reason, func(t *testing.T) {
			var log strings.Builder
			var states []error
			o := client.PublisherOptions{Logger: slog.New(slog.NewTextHandler(&log, nil)), OnState: func(err error) { states = append(states, err) }}
			publishing(t, o, func(t *testing.T, f *fakeAgent, p *client.Publisher) {
				fails(f)
				publish(t, p, "a")
				p.Flush(t.Context())
				for round := range 2 {
					failing.Store(true)
					publish(t, p, "b")
					time.Sleep(time.Hour)
					failing.Store(false)
					if len(states) != 2*round+1 || !strings.Contains(states[2*round].Error(), reason) {
						t.Fatalf("got the states %v, want one with %q", states, reason)
					}
					publish(t, p, "c")
					p.Flush(t.Context())
					if len(states) != 2*round+2 || states[2*round+1] != nil {
						t.Fatalf("got the states %v, want nil at last", states)
					}
				}
			})
			lines := strings.Split(strings.TrimSpace(log.String()), "\n")
			if len(lines) != 4 || !strings.Contains(lines[0], "level=WARN") || !strings.Contains(lines[0], reason) || !strings.Contains(lines[1], "level=INFO") {
				t.Errorf("got the lines %q, want a warning and its end, twice", lines)
			}
		})
	}
}
