package client_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/standpipe/standpipe/client"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
)

// bad refuses the first event that begins with "bad", as the agent does.
func bad(m *standpipev1.AppendRequest) error {
	for i, e := range m.Events {
		if strings.HasPrefix(string(e.Data), "bad") {
			return refusal(codes.InvalidArgument, "INVALID", i, 0)
		}
	}
	return nil
}

func isBad(data string) bool { return strings.HasPrefix(data, "bad") }

func TestPublisher_OneBadEventStopsOnlyItself(t *testing.T) {
	for _, at := range [][]int{{0}, {19}, {4}, {5}, {4, 5}, {0, 1, 2, 3, 4}, {3, 17}} {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			var told []string
			o := client.PublisherOptions{BatchEvents: 5, OnRefused: func(e client.Event, err error) {
				told = append(told, fmt.Sprintf("%s %s: %v", e.Key, e.Data, err))
			}}
			publishing(t, o, func(t *testing.T, f *fakeAgent, p *client.Publisher) {
				f.rules = bad
				data := numbered(20)
				for _, i := range at {
					data[i] = "bad" + data[i]
				}
				receipts := publish(t, p, data...)
				err := p.Close(t.Context())
				e, ok := errors.AsType[*client.Error](err)
				if !ok || e.Code != codes.InvalidArgument || e.Reason != "invalid" || e.Text != "breaks a rule" {
					t.Errorf("close: got %v", err)
				}
				wantStored(t, f, slices.DeleteFunc(slices.Clone(data), isBad))
				checkReceipts(t, f, data, receipts)
				if len(told) != len(at) || told[0] != "k "+data[at[0]]+": INVALID_ARGUMENT: breaks a rule" {
					t.Errorf("told %q", told)
				}
				if f.producers() != 1 {
					t.Errorf("stored under %d ids, want 1", f.producers())
				}
			})
		})
	}
}

// checkReceipts holds the results against the log.
func checkReceipts(t *testing.T, f *fakeAgent, data []string, receipts []client.Receipt) {
	t.Helper()
	log := f.log()
	for i, r := range receipts {
		offset, err := r.Wait(t.Context())
		select {
		case <-r.Done():
		default:
			t.Errorf("event %d has its answer and is not done", i)
		}
		switch {
		case isBad(data[i]) != (err != nil):
			t.Errorf("event %d, %s: got %v", i, data[i], err)
		case offset > 0 && log[offset-1] != data[i]:
			t.Errorf("event %d: offset %d holds %s", i, offset, log[offset-1])
		case err == nil && offset == 0 && f.cut == nil:
			t.Errorf("event %d has no offset", i)
		}
	}
}

func TestPublisher_HalvesRequestsOverTheAgentsSize(t *testing.T) {
	publishing(t, client.PublisherOptions{BatchEvents: 8}, func(t *testing.T, f *fakeAgent, p *client.Publisher) {
		f.rules = func(m *standpipev1.AppendRequest) error {
			size := 0
			for _, e := range m.Events {
				size += len(e.Data)
			}
			if size > 100 {
				return status.Error(codes.ResourceExhausted, "grpc: received message larger than max")
			}
			return nil
		}
		long := "bad" + strings.Repeat("x", 100)
		data := []string{"a", strings.Repeat("b", 60), strings.Repeat("c", 60), long, "d", strings.Repeat("e", 99), "f", "g"}
		receipts := publish(t, p, data...)
		if err := p.Close(t.Context()); !strings.Contains(err.Error(), "1 event was not stored: RESOURCE_EXHAUSTED") {
			t.Errorf("close: got %v", err)
		}
		wantStored(t, f, slices.DeleteFunc(slices.Clone(data), isBad))
		checkReceipts(t, f, data, receipts)
	})
}

func TestPublisher_NobodyMayWrite(t *testing.T) {
	for _, code := range []codes.Code{codes.NotFound, codes.PermissionDenied, codes.Unauthenticated, codes.Unimplemented} {
		publishing(t, client.PublisherOptions{BatchEvents: 2}, func(t *testing.T, f *fakeAgent, p *client.Publisher) {
			f.rules = func(*standpipev1.AppendRequest) error { return status.Error(code, "no") }
			publish(t, p, numbered(9)...)
			err := p.Flush(t.Context())
			if e, ok := errors.AsType[*client.Error](err); !ok || e.Code != code || !strings.Contains(err.Error(), "9 events") {
				t.Errorf("got %v", err)
			}
			f.rules = nil
			publish(t, p, "a")
			if err := p.Close(t.Context()); err != nil {
				t.Error(err)
			}
			wantStored(t, f, []string{"a"})
		})
	}
}

// An agent whose log was lost in part, or that answered from memory and was killed, expects lower
// sequences than come.
func TestPublisher_AgentThatLostTheProducer(t *testing.T) {
	publishing(t, client.PublisherOptions{}, func(t *testing.T, f *fakeAgent, p *client.Publisher) {
		publish(t, p, "a", "b")
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.mu.Lock()
		for id := range f.next {
			f.next[id] = 2
		}
		f.mu.Unlock()
		publish(t, p, "c")
		if err := p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantStored(t, f, []string{"a", "b", "c"})
	})
}

// The agent stores three requests whose responses are lost, is started again with a stricter rule, and rejects the
// first. Later requests must not be mistaken for stored ones.
func TestPublisher_RejectedAfterItMayHaveBeenStored(t *testing.T) {
	publishing(t, client.PublisherOptions{BatchEvents: 1}, func(t *testing.T, f *fakeAgent, p *client.Publisher) {
		publish(t, p, "0", "1", "2") // so that many requests may be under way
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		stored := 0
		f.lose = func() bool { return stored < 3 }
		f.cut = func(after bool) bool {
			if after {
				stored++
			}
			if stored == 3 {
				f.rules = bad
			}
			return after && stored == 3
		}
		publish(t, p, "bad", "b", "c", "d", "e", "f")
		if err := p.Close(t.Context()); err == nil {
			t.Error("close: got no error")
		}
		wantStored(t, f, []string{"0", "1", "2", "bad", "b", "c", "b", "c", "d", "e", "f"})
	})
}

func TestFlush_CountsRejectionsOnce(t *testing.T) {
	publishing(t, client.PublisherOptions{Linger: time.Hour}, func(t *testing.T, f *fakeAgent, p *client.Publisher) {
		f.rules = bad
		publish(t, p, "bad", "a", "bad")
		if err := p.Flush(context.Background()); err == nil || !strings.Contains(err.Error(), "2 events were not stored, the first: INVALID_ARGUMENT: breaks a rule") {
			t.Errorf("got %v", err)
		}
		if err := p.Flush(context.Background()); err != nil {
			t.Errorf("again: %v", err)
		}
		if err := p.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
	})
}
