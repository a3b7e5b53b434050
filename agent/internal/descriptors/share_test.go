package descriptors

import (
	"math/rand/v2"
	"testing"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/test/draw"
)

// For every combination of listeners and destinations the agent keeps descriptors for itself, and each listener has at
// least one connection.
func TestDescriptors_AreSharedWithTheAgent(t *testing.T) {
	seed := draw.Seed(t)
	r := rand.New(rand.NewPCG(seed, 1))
	for range 1000 {
		limit := int64(64) << r.IntN(14)
		conf := &config.Config{Streams: make([]config.Stream, r.IntN(20))}
		for i := range conf.Streams {
			for range r.IntN(5) {
				kind := []string{"file", "kinesis", "firehose"}[r.IntN(3)]
				conf.Streams[i].Destinations = append(conf.Streams[i].Destinations, config.Destination{Type: kind})
			}
		}
		wanted := make([]int64, 1+r.IntN(5))
		sum := int64(0)
		for i := range wanted {
			wanted[i] = 1 + r.Int64N(16<<10)
			sum += wanted[i]
		}
		aside := Aside(conf, limit)
		room := limit - aside
		if aside < min(ofAgent, limit/2) || room < limit/2 {
			t.Fatalf("got %d of %d for the agent", aside, limit)
		}
		got := int64(0)
		for i, n := range Share(wanted, room) {
			got += n
			if n < 1 || n > wanted[i] || sum <= room && n != wanted[i] {
				t.Fatalf("got %d of %d connections, with room for %d of %d", n, wanted[i], room, sum)
			}
		}
		if got > room || got < min(sum, room)-int64(len(wanted)) {
			t.Fatalf("got %d connections in all, with room for %d of %d", got, room, sum)
		}
	}
}
