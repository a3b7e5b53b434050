package admin_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/standpipe/standpipe/agent/admin"
)

// blockedBy makes a status in which every text is the last error of a blocked destination of its own stream.
func blockedBy(texts ...string) *admin.Status {
	s := &admin.Status{}
	for i, text := range texts {
		stream := fmt.Sprintf("meter-%d", i)
		d := admin.DestinationStatus{Name: "archive", State: admin.Blocked, LastError: text, Pending: admin.Pending{Events: 10}}
		s.Streams = append(s.Streams, admin.StreamStatus{Name: stream, Destinations: []admin.DestinationStatus{d}})
		s.Problems = append(s.Problems, admin.Problem{
			Kind: "blocked", Stream: stream, Destination: "archive", Text: "blocked: " + text, Since: admin.Time{Time: now.Add(-time.Duration(i) * time.Minute)},
		})
	}
	return s
}

func TestProblemGroups_OfOneCause(t *testing.T) {
	for _, test := range []struct {
		name   string
		texts  []string
		groups int
	}{
		{"the same text", []string{"connection refused", "connection refused", "connection refused"}, 1},
		{"two texts", []string{"connection refused", "access denied", "connection refused"}, 2},
		{"names of streams", []string{"no stream meter-0 under 1", "no stream meter-1 under 1"}, 1},
		{"IDs of requests", []string{"denied, RequestID: 0f6ee2a1-53f1-4c7a-9d3e-5b1f0d0b8c11.", "denied, RequestID: 77aa12bb-53f1-4c7a-9d3e-5b1f0d0b8c11."}, 1},
		{"ports", []string{"read 127.0.0.1:53422->127.0.0.1:1: reset", "read 127.0.0.1:53423->127.0.0.1:1: reset"}, 1},
		{"codes", []string{"answers 403", "answers 404"}, 2},
		{"short words with digits", []string{"no region eu-west-1", "no region eu-west-2"}, 2},
	} {
		s := blockedBy(test.texts...)
		groups, members := s.ProblemGroups(), 0
		for _, g := range groups {
			members += len(g.Members)
			if g.Pending != uint64(10*len(g.Members)) {
				t.Errorf("%s: got %d pending of %d members", test.name, g.Pending, len(g.Members))
			}
		}
		if len(groups) != test.groups || members != len(test.texts) || groups[0].Cause != test.texts[0] {
			t.Errorf("%s: got %+v, want %d groups of %d members", test.name, groups, test.groups, len(test.texts))
		}
		if last := &groups[0].Members[len(groups[0].Members)-1]; len(groups) == 1 && (last.Stream != fmt.Sprintf("meter-%d", len(test.texts)-1) ||
			!groups[0].Since.Equal(now.Add(-time.Duration(len(test.texts)-1)*time.Minute))) {
			t.Errorf("%s: got the last member %+v since %v, want the earliest time", test.name, *last, groups[0].Since)
		}
	}
}

// The last error of a destination is not the cause of its dead letters: they are one group, with the number of letters.
func TestProblemGroups_OfDeadLetters(t *testing.T) {
	s := blockedBy("", "connection reset", "timeout")
	for i := range s.Problems {
		s.Problems[i].Kind = "dead_letters"
		s.Streams[i].Destinations[0].DeadLetters = uint64(1000 + i)
	}
	groups := s.ProblemGroups()
	if len(groups) != 1 || groups[0].Summary() != "dead_letters: 3 destinations, 3,003 dead letters" {
		t.Errorf("got %+v", groups)
	}
}

// Problems of the agent stay single, and keep their order among the others.
func TestProblemGroups_OfTheAgent(t *testing.T) {
	s := blockedBy("denied")
	s.Problems = append([]admin.Problem{{Kind: "certificate_expired", Text: "a"}, {Kind: "certificate_expired", Text: "b"}}, s.Problems...)
	got := ""
	for _, g := range s.ProblemGroups() {
		got += g.Text + ";"
	}
	if want := "a;b;blocked: denied;"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestHealthy(t *testing.T) {
	s := sample()
	s.Problems = append(s.Problems, admin.Problem{Kind: "behind", Stream: "late", Destination: "a"})
	for _, test := range []struct {
		stream string
		state  admin.State
		want   bool
	}{{"clicks", admin.Running, true}, {"clicks", admin.Forgotten, true}, {"clicks", admin.Parked, false}, {"late", admin.Running, false}} {
		stream := admin.StreamStatus{Name: test.stream, Destinations: []admin.DestinationStatus{{Name: "a", State: test.state}}}
		if got := s.Healthy(&stream); got != test.want {
			t.Errorf("%s %s: got %v, want %v", test.stream, test.state, got, test.want)
		}
	}
}
