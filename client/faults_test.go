package client_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/standpipe/standpipe/client"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
)

// The connection breaks before and after requests are stored, the log is full now and then, and events are bad: good
// events are stored once, in order; exactly the bad ones are reported.
func TestPublisher_AnythingMayFail(t *testing.T) {
	for seed := range uint64(200) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { anythingFails(t, rand.New(rand.NewPCG(seed, 3))) })
		})
	}
}

func anythingFails(t *testing.T, r *rand.Rand) {
	f := newFakeAgent()
	faults := rand.New(rand.NewPCG(r.Uint64(), 4)) // the agent's
	cutting, full := r.Float64()/4, r.Float64()/4
	f.cut = func(bool) bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return faults.Float64() < cutting
	}
	f.rules = func(m *standpipev1.AppendRequest) error {
		if faults.Float64() < full {
			return refusal(codes.ResourceExhausted, "FULL", -1, time.Second)
		}
		return bad(m)
	}
	c := client.New(f)
	defer c.Close()
	p := c.Publisher("s", client.PublisherOptions{
		BatchEvents: 1 + r.IntN(8), Window: 1 + r.IntN(12), MaxBuffered: 1 + 200*r.Int64N(50) + 200,
	})
	data := numbered(300)
	var receipts []client.Receipt
	badness := r.Float64() / 5
	for i := range data {
		if r.Float64() < badness {
			data[i] = "bad" + data[i]
		}
		receipts = append(receipts, publish(t, p, data[i])...)
		if r.IntN(20) == 0 {
			time.Sleep(time.Duration(r.IntN(3)) * time.Millisecond)
		}
	}
	good := slices.DeleteFunc(slices.Clone(data), isBad)
	if err := p.Close(t.Context()); (err != nil) != (len(good) < len(data)) {
		t.Errorf("close: %v", err)
	}
	wantStored(t, f, good)
	checkReceipts(t, f, data, receipts)
}
