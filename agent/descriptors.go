package agent

import (
	"math"
	"slices"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/agent/internal/destination"
)

// Descriptors reserved from producers' connections. The WAL reserves a few more by itself.
const (
	descriptorsOfAgent = 64 // WAL, dead letters, listeners, operators' connections, certificates and tokens
	adminConnections   = 32 // of descriptorsOfAgent
)

// Descriptors returns the number of descriptors that the process may have open, and the number that conf may need. It reports
// false where no limit is known.
func Descriptors(conf *config.Config) (limit, needed int64, known bool) {
	limit, known = descriptorLimit()
	needed = descriptorsAside(conf, math.MaxInt64)
	for _, l := range conf.Listeners {
		needed += l.MaxConnections
	}
	return limit, needed, known
}

// descriptorsAside returns the number of descriptors that the agent reserves from producers' connections: at most half of
// limit.
func descriptorsAside(conf *config.Config, limit int64) int64 {
	aside := int64(descriptorsOfAgent)
	for i := range conf.Streams {
		for j := range conf.Streams[i].Destinations {
			t, _ := destination.Of(conf.Streams[i].Destinations[j]) // an unknown type has none
			aside += t.Descriptors
		}
	}
	return min(aside, limit/2)
}

// shareDescriptors divides budget connections among the listeners: one each, and the rest in proportion to wanted. The sum
// exceeds a budget that is smaller than the number of listeners.
func shareDescriptors(wanted []int64, budget int64) []int64 {
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

// limitConnections limits the connections of all listeners together to the descriptors that the process may have open.
func (ls *listeners) limitConnections(conf *config.Config) {
	limit, known := descriptorLimit()
	if !known {
		return
	}
	var all []*listener
	var wanted []int64
	sum := int64(0)
	for _, l := range ls.bound {
		all, wanted = append(all, l), append(wanted, l.maxConnections)
		sum += l.maxConnections
	}
	aside := descriptorsAside(conf, limit)
	for i, most := range shareDescriptors(wanted, limit-aside) {
		all[i].server.LimitConnections(most)
	}
	if sum > limit-aside {
		ls.logger.Warn("max_connections exceed the file descriptors of the process; lowered in proportion",
			"max_connections", sum, "descriptors", limit, "kept_for_the_agent", aside, "connections_at_most", limit-aside)
	}
}
