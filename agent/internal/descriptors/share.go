// Package descriptors divides the file descriptors of the process between the agent and the connections of producers, which may
// never take the last ones: the agent needs them to store and deliver.
package descriptors

import (
	"math"
	"slices"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/agent/internal/destination"
)

// Descriptors reserved from producers' connections. The WAL reserves a few more by itself.
const (
	ofAgent = 64 // WAL, dead letters, listeners, operators' connections, certificates and tokens

	// OfAdmin are the connections of operators, a part of them.
	OfAdmin = 32
)

// Needed returns the number of descriptors that the process may have open, and the number that conf may need. It reports
// false where no limit is known.
func Needed(conf *config.Config) (limit, needed int64, known bool) {
	limit, known = Limit()
	needed = Aside(conf, math.MaxInt64)
	for _, l := range conf.Listeners {
		needed += l.MaxConnections
	}
	return limit, needed, known
}

// Aside returns the number of descriptors that the agent reserves from producers' connections: at most half of
// limit.
func Aside(conf *config.Config, limit int64) int64 {
	aside := int64(ofAgent)
	for i := range conf.Streams {
		for j := range conf.Streams[i].Destinations {
			t, _ := destination.Of(conf.Streams[i].Destinations[j]) // an unknown type has none
			aside += t.Descriptors
		}
	}
	return min(aside, limit/2)
}

// Share divides budget connections among the listeners: one each, and the rest in proportion to wanted. The sum
// exceeds a budget that is smaller than the number of listeners.
func Share(wanted []int64, budget int64) []int64 {
	sum := int64(0)
	for _, n := range wanted {
		sum += n
	}
	if sum <= budget {
		return slices.Clone(wanted)
	}
	shares, each := make([]int64, len(wanted)), int64(len(wanted))
	for i, n := range wanted {
		shares[i] = 1 + int64(float64(n-1)/float64(max(sum-each, 1))*float64(max(budget-each, 0)))
	}
	return shares
}
