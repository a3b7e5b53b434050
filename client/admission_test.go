package client_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/standpipe/standpipe/client"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
)

// tokens is an agent's token file and the token that a producer shows. A stream shows the token that it was opened with
// until it ends, and the agent uses the file's content as of its last look.
type tokens struct {
	shown         int
	file, known   [2]int // the oldest and the newest token that are in it
	code          codes.Code
	reason        string
	looked, every time.Duration
	born          time.Time
}

func (k *tokens) open() func() error {
	token := k.shown
	return func() error {
		if now := time.Since(k.born); now-k.looked >= k.every {
			k.known, k.looked = k.file, now
		}
		if k.known[0] <= token && token <= k.known[1] {
			return nil
		}
		if k.reason == "" {
			return status.Error(k.code, "no")
		}
		return refusal(k.code, k.reason, -1, 0)
	}
}

// rotate makes one token after another the only one, as it should be done: the agent's file has the new one, then
// the producer shows it, then the old one is removed.
func (k *tokens) rotate(f *fakeAgent, r *rand.Rand, times int) {
	step := func(change func()) {
		time.Sleep(time.Duration(r.IntN(2500)) * time.Millisecond)
		f.mu.Lock()
		defer f.mu.Unlock()
		change()
	}
	for range times {
		step(func() { k.file[1]++ })
		step(func() { k.shown++ })
		step(func() { k.file[0]++ })
	}
}

func TestPublisher_LosesNothingWhenTokensAreRotated(t *testing.T) {
	for seed := range uint64(100) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { tokensAreRotated(t, rand.New(rand.NewPCG(seed, 5))) })
		})
	}
}

func tokensAreRotated(t *testing.T, r *rand.Rand) {
	f := newFakeAgent()
	k := &tokens{
		code: codes.Unauthenticated, reason: "UNAUTHENTICATED",
		every: time.Duration(1+r.IntN(1000)) * time.Millisecond, born: time.Now(),
	}
	if r.IntN(2) == 0 {
		k.code, k.reason = codes.PermissionDenied, "FORBIDDEN"
	}
	if r.IntN(4) == 0 {
		k.reason = "" // a proxy's response
	}
	f.admission = func() func() error {
		admitted := k.open()
		return func() error {
			f.mu.Lock()
			defer f.mu.Unlock()
			return admitted()
		}
	}
	c := client.New(f)
	defer c.Close()
	p := c.Publisher("s", client.PublisherOptions{
		BatchEvents: 1 + r.IntN(8), Window: 1 + r.IntN(12),
		OnRefused: func(e client.Event, err error) { t.Errorf("event %s is lost: %v", e.Data, err) },
	})
	rotated := make(chan struct{})
	rotation := rand.New(rand.NewPCG(r.Uint64(), 6))
	go func() {
		defer close(rotated)
		k.rotate(f, rotation, 1+rotation.IntN(3))
	}()
	var data []string
	for pace := 1 + r.IntN(40); !isClosed(rotated); {
		data = append(data, fmt.Sprint(len(data)))
		publish(t, p, data[len(data)-1])
		time.Sleep(time.Duration(1+r.IntN(pace)) * time.Millisecond)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Errorf("close: %v", err)
	}
	wantStored(t, f, data)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// A token that is revoked and followed by none is the producer's to know of.
func TestPublisher_GivesUpEventsWhenItsTokenIsRevoked(t *testing.T) {
	publishing(t, client.PublisherOptions{BatchEvents: 2}, func(t *testing.T, f *fakeAgent, p *client.Publisher) {
		var revoked atomic.Bool
		f.admission = func() func() error {
			return func() error {
				if revoked.Load() {
					return refusal(codes.Unauthenticated, "UNAUTHENTICATED", -1, 0)
				}
				return nil
			}
		}
		publish(t, p, "a", "b")
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		revoked.Store(true)
		publish(t, p, numbered(40)...)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := p.Flush(ctx)
		if e, ok := errors.AsType[*client.Error](err); !ok || e.Code != codes.Unauthenticated || ctx.Err() != nil {
			t.Errorf("flush: got %v", err)
		}
		revoked.Store(false)
		publish(t, p, "c")
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
		wantStored(t, f, []string{"a", "b", "c"})
	})
}

// A proxy rejects a stream whose first request the agent has stored. The agent must not take events published later for
// the stored ones.
func TestPublisher_NumbersAnewAfterAProxyRefusedWhatMayBeStored(t *testing.T) {
	publishing(t, client.PublisherOptions{BatchEvents: 1}, func(t *testing.T, f *fakeAgent, p *client.Publisher) {
		broken := true
		f.cut = func(bool) bool { return broken && len(f.log()) > 0 }
		f.cutBy = status.Error(codes.PermissionDenied, "403 Forbidden")
		publish(t, p, "a")
		if err := p.Flush(t.Context()); err == nil {
			t.Error("flush: got no error")
		}
		broken = false
		publish(t, p, "c")
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
		wantStored(t, f, []string{"a", "c"})
	})
}

// failing are credentials whose source fails at first.
type failing struct {
	times atomic.Int32
	err   error
}

func (f *failing) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	if f.times.Add(-1) >= 0 {
		return nil, f.err
	}
	return map[string]string{"authorization": "Bearer good"}, nil
}

func (*failing) RequireTransportSecurity() bool { return false }

func TestPublisher_AsksAgainForCredentialsThatFail(t *testing.T) {
	for _, fault := range []error{&net.DNSError{Err: "no such host", Name: "vault.example"}, status.Error(codes.Unauthenticated, "expired")} {
		f, address := serve(t, "tcp", "127.0.0.1:0", "")
		source := &failing{err: fault}
		source.times.Store(3)
		p := dial(t, address, client.Options{Credentials: source}).Publisher("s", client.PublisherOptions{RetryMax: 10 * time.Millisecond})
		publish(t, p, "a")
		if err := p.Close(t.Context()); err != nil {
			t.Errorf("%v: close: %v", fault, err)
		}
		wantStored(t, f, []string{"a"})
	}
}

// A name that no stream can have is not looked for in events, one after another.
func TestPublisher_RefusesAllThatWasSentToAnInvalidName(t *testing.T) {
	publishing(t, client.PublisherOptions{BatchEvents: 1000}, func(t *testing.T, f *fakeAgent, p *client.Publisher) {
		f.rules = func(*standpipev1.AppendRequest) error { return refusal(codes.InvalidArgument, "NO_STREAM", -1, 0) }
		publish(t, p, numbered(1000)...)
		if err := p.Close(t.Context()); err == nil || f.streams != 1 {
			t.Errorf("close: got %v after %d streams, want an error after 1", err, f.streams)
		}
	})
}

// A producer that was never admitted gets its error at once.
func TestPublisher_ThatIsNotKnownIsNotTriedAgain(t *testing.T) {
	for _, code := range []codes.Code{codes.Unauthenticated, codes.PermissionDenied} {
		publishing(t, client.PublisherOptions{}, func(t *testing.T, f *fakeAgent, p *client.Publisher) {
			f.rules = func(*standpipev1.AppendRequest) error { return refusal(code, "NO", -1, 0) }
			publish(t, p, "a", "b")
			if err := p.Close(t.Context()); err == nil || f.streams != 1 {
				t.Errorf("close: got %v after %d streams, want an error after 1", err, f.streams)
			}
		})
	}
}
