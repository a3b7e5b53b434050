package client_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/standpipe/standpipe/client"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
)

// publishing runs a test with a publisher to a fake agent, in a bubble of its own time.
func publishing(t *testing.T, o client.PublisherOptions, test func(t *testing.T, f *fakeAgent, p *client.Publisher)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := newFakeAgent()
		c := client.New(f)
		defer c.Close()
		test(t, f, c.Publisher("s", o))
	})
}

func publish(t *testing.T, p *client.Publisher, data ...string) (receipts []client.Receipt) {
	t.Helper()
	for _, d := range data {
		r, err := p.Publish(t.Context(), client.Event{Key: "k", Data: []byte(d)})
		if err != nil {
			t.Fatal(err)
		}
		receipts = append(receipts, r)
	}
	return receipts
}

// numbered returns n names of events.
func numbered(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprint(i))
	}
	return names
}

func wantStored(t *testing.T, f *fakeAgent, want []string) {
	t.Helper()
	if got := f.log(); !slices.Equal(got, want) {
		t.Errorf("stored %d events %.200q, want %d %.200q", len(got), got, len(want), want)
	}
}

func TestPublisher_StoresInOrder(t *testing.T) {
	publishing(t, client.PublisherOptions{BatchEvents: 7}, func(t *testing.T, f *fakeAgent, p *client.Publisher) {
		receipts := publish(t, p, numbered(100)...)
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantStored(t, f, numbered(100))
		for i, r := range receipts {
			if offset, err := r.Wait(t.Context()); offset != uint64(i+1) || err != nil {
				t.Fatalf("event %d: got offset %d, %v", i, offset, err)
			}
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestPublisher_KeepsEventsUnchanged(t *testing.T) {
	publishing(t, client.PublisherOptions{Ack: client.AckDelivered}, func(t *testing.T, f *fakeAgent, p *client.Publisher) {
		data := []byte("data")
		at := time.Unix(5, 7)
		if _, err := p.Publish(t.Context(), client.Event{Key: "k", Data: data, Time: at, Attributes: map[string]string{"a": "b"}}); err != nil {
			t.Fatal(err)
		}
		copy(data, "XXXX") // the caller's to change
		if err := p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		m := f.requests[0]
		if m.Stream != "s" || m.Ack != standpipev1.Ack_ACK_DELIVERED || m.ProducerSequence != 1 || m.ProducerId == "" {
			t.Errorf("got request %v", m)
		}
		e := m.Events[0]
		if e.PartitionKey != "k" || string(e.Data) != "data" || e.TimeUnixNano != at.UnixNano() || e.Attributes["a"] != "b" {
			t.Errorf("got event %v", e)
		}
	})
}

func TestPublisher_Linger(t *testing.T) {
	publishing(t, client.PublisherOptions{Linger: time.Minute}, func(t *testing.T, f *fakeAgent, p *client.Publisher) {
		publish(t, p, "a")
		time.Sleep(59 * time.Second)
		publish(t, p, "b")
		synctest.Wait()
		wantStored(t, f, nil)
		time.Sleep(time.Second)
		synctest.Wait()
		wantStored(t, f, []string{"a", "b"})
		if got := len(f.requests); got != 1 {
			t.Errorf("got %d requests, want 1", got)
		}
		p.Close(t.Context())
	})
}

func TestPublisher_CutsBatches(t *testing.T) {
	for _, test := range []struct {
		name string
		o    client.PublisherOptions
		size int
		want []int
	}{
		{"by count", client.PublisherOptions{BatchEvents: 4}, 10, []int{4, 4, 2}},
		{"by bytes", client.PublisherOptions{BatchBytes: 3000}, 1000, []int{2, 2, 2, 2, 2}},
		{"large events go alone", client.PublisherOptions{BatchBytes: 100}, 200, []int{1, 1, 1, 1, 1, 1, 1, 1, 1, 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			publishing(t, test.o, func(t *testing.T, f *fakeAgent, p *client.Publisher) {
				for range 10 {
					publish(t, p, strings.Repeat("x", test.size))
				}
				if err := p.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				var got []int
				for _, m := range f.requests {
					got = append(got, len(m.Events))
				}
				if !slices.Equal(got, test.want) {
					t.Errorf("got requests of %d events, want %d", got, test.want)
				}
			})
		})
	}
}

func TestPublisher_Window(t *testing.T) {
	publishing(t, client.PublisherOptions{BatchEvents: 1, Window: 3}, func(t *testing.T, f *fakeAgent, p *client.Publisher) {
		f.hold = make(chan struct{})
		receipts := publish(t, p, numbered(10)...)
		for answered, want := range []int{1, 3, 5, 6, 7} { // 1, 2, 3 under way
			synctest.Wait()
			f.mu.Lock()
			if got := f.sent; got != want {
				t.Errorf("after %d answers: got %d requests sent, want %d", answered, got, want)
			}
			f.mu.Unlock()
			f.hold <- struct{}{}
			if offset, err := receipts[answered].Wait(t.Context()); offset != uint64(answered+1) || err != nil {
				t.Errorf("got offset %d, %v, want %d", offset, err, answered+1)
			}
		}
		close(f.hold)
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
		wantStored(t, f, numbered(10))
	})
}

func TestPublisher_FullBuffer(t *testing.T) {
	o := client.PublisherOptions{MaxBuffered: 1000, BatchEvents: 1}
	event := client.Event{Key: "k", Data: make([]byte, 300)}
	publishing(t, o, func(t *testing.T, f *fakeAgent, p *client.Publisher) {
		f.setDown(true)
		publish(t, p, string(event.Data), string(event.Data))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := p.Publish(ctx, event); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("full: got %v, want that the deadline passed", err)
		}
		if _, err := p.Publish(t.Context(), client.Event{Key: "k", Data: make([]byte, 1000)}); err == nil || !strings.Contains(err.Error(), "1065 bytes of a buffer of 1000") {
			t.Errorf("larger than the buffer: got %v", err)
		}
		f.setDown(false)
		if _, err := p.Publish(t.Context(), event); err != nil {
			t.Errorf("when there is room again: %v", err)
		}
		p.Close(t.Context())
		if got := len(f.log()); got != 3 {
			t.Errorf("stored %d events, want 3", got)
		}
	})
	o.NoBlock = true
	publishing(t, o, func(t *testing.T, f *fakeAgent, p *client.Publisher) {
		f.setDown(true)
		publish(t, p, string(event.Data), string(event.Data))
		if _, err := p.Publish(t.Context(), event); !errors.Is(err, client.ErrFull) {
			t.Errorf("full: got %v, want %v", err, client.ErrFull)
		}
	})
}

func TestPublisher_KeyThatIsNotUTF8(t *testing.T) {
	publishing(t, client.PublisherOptions{}, func(t *testing.T, f *fakeAgent, p *client.Publisher) {
		if _, err := p.Publish(t.Context(), client.Event{Key: "\xff"}); err == nil {
			t.Error("got no error")
		}
		publish(t, p, "a")
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
		wantStored(t, f, []string{"a"})
	})
}

func TestFlush_GivesUpWaiting(t *testing.T) {
	publishing(t, client.PublisherOptions{}, func(t *testing.T, f *fakeAgent, p *client.Publisher) {
		f.setDown(true)
		publish(t, p, "a", "b")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := p.Flush(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "2 events unanswered; the last try: UNAVAILABLE: connection refused") {
			t.Errorf("got %v", err)
		}
		f.setDown(false)
		if err := p.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		wantStored(t, f, []string{"a", "b"})
	})
}

func TestClose_LeavesEventsWithoutAResponse(t *testing.T) {
	publishing(t, client.PublisherOptions{}, func(t *testing.T, f *fakeAgent, p *client.Publisher) {
		f.setDown(true)
		receipts := publish(t, p, "a", "b")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := p.Close(ctx)
		if !errors.Is(err, client.ErrClosed) || !strings.Contains(err.Error(), "2 events were not stored") {
			t.Errorf("got %v", err)
		}
		if again := p.Close(t.Context()); again != err {
			t.Errorf("close again: got %v, want %v", again, err)
		}
		if _, err := receipts[1].Wait(t.Context()); !errors.Is(err, client.ErrClosed) {
			t.Errorf("receipt: got %v", err)
		}
		if _, err := p.Publish(t.Context(), client.Event{Key: "k"}); !errors.Is(err, client.ErrClosed) {
			t.Errorf("publish: got %v", err)
		}
	})
}

func TestClose_OfTheClientEndsItsPublishers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeAgent()
		f.hold = make(chan struct{})
		c := client.New(f)
		p := c.Publisher("s", client.PublisherOptions{})
		receipts := publish(t, p, "a")
		time.Sleep(time.Second)
		c.Close()
		if _, err := receipts[0].Wait(t.Context()); !errors.Is(err, client.ErrClosed) {
			t.Errorf("got %v, want %v", err, client.ErrClosed)
		}
		if _, err := p.Publish(t.Context(), client.Event{Key: "k"}); !errors.Is(err, client.ErrClosed) {
			t.Errorf("publish: got %v", err)
		}
	})
}

func TestPublisher_GivesUp(t *testing.T) {
	for _, how := range []string{"down", "silent"} {
		t.Run(how, func(t *testing.T) {
			publishing(t, client.PublisherOptions{GiveUp: time.Minute}, func(t *testing.T, f *fakeAgent, p *client.Publisher) {
				f.setDown(how == "down")
				if how == "silent" {
					f.hold = make(chan struct{})
				}
				time.Sleep(time.Hour) // nothing waits, so nothing is given up
				receipts := publish(t, p, "a")
				began := time.Now()
				_, err := receipts[0].Wait(t.Context())
				if !errors.Is(err, client.ErrGivenUp) {
					t.Errorf("got %v, want %v", err, client.ErrGivenUp)
				}
				if took := time.Since(began); took != time.Minute {
					t.Errorf("given up after %s, want a minute", took)
				}
				f.setDown(false)
				f.hold = nil
				publish(t, p, "b")
				if err := p.Flush(t.Context()); !errors.Is(err, client.ErrGivenUp) {
					t.Errorf("flush: got %v, want %v", err, client.ErrGivenUp)
				}
				if got := f.log(); got[len(got)-1] != "b" {
					t.Errorf("stored %q, want b at last", got)
				}
			})
		})
	}
}

func TestRetry_DelayOfTheAgentIsAFloor(t *testing.T) {
	publishing(t, client.PublisherOptions{}, func(t *testing.T, f *fakeAgent, p *client.Publisher) {
		began := time.Now()
		f.rules = func(*standpipev1.AppendRequest) error {
			if time.Since(began) < time.Minute {
				return refusal(codes.ResourceExhausted, "FULL", -1, time.Minute)
			}
			return nil
		}
		publish(t, p, "a")
		if err := p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if f.streams != 2 {
			t.Errorf("opened %d streams, want 2", f.streams)
		}
	})
}

func TestRetry_BacksOff(t *testing.T) {
	publishing(t, client.PublisherOptions{RetryMax: 10 * time.Second}, func(t *testing.T, f *fakeAgent, p *client.Publisher) {
		f.setDown(true)
		publish(t, p, "a")
		time.Sleep(time.Hour)
		f.mu.Lock()
		if got := f.streams; got < 360 || got > 1500 { // 5 s between two at the mean
			t.Errorf("tried %d times in an hour", got)
		}
		f.mu.Unlock()
		f.setDown(false)
		p.Close(t.Context())
		wantStored(t, f, []string{"a"})
	})
}
