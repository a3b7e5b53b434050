package agent

import (
	"slices"

	"github.com/standpipe/standpipe/agent/config"
)

// Descriptors that are not for producers' connections. The log keeps a few more aside by itself.
const (
	descriptorsOfAgent = 64 // the log, dead letters, listeners, operators' connections, certificates and tokens being read
	descriptorsOfFile  = 4
	descriptorsOfCloud = 64 // a request for each lane
)

// descriptorsAside returns how many descriptors the agent needs beside producers' connections: never more than half of
// limit, so that producers get the rest.
func descriptorsAside(conf *config.Config, limit int64) int64 {
	aside := int64(descriptorsOfAgent)
	for i := range conf.Streams {
		for j := range conf.Streams[i].Destinations {
			if conf.Streams[i].Destinations[j].Type == "file" {
				aside += descriptorsOfFile
				continue
			}
			aside += descriptorsOfCloud
		}
	}
	return min(aside, limit/2)
}

// shareDescriptors returns how many connections each listener may have when room is for all of them together: one each,
// and the rest in proportion to wanted. Only a room smaller than the number of listeners is exceeded.
func shareDescriptors(wanted []int64, room int64) []int64 {
	sum := int64(0)
	for _, n := range wanted {
		sum += n
	}
	if sum <= room {
		return slices.Clone(wanted)
	}
	shares, each := make([]int64, len(wanted)), int64(len(wanted))
	for i, n := range wanted {
		shares[i] = 1 + int64(float64(n-1)/float64(max(sum-each, 1))*float64(max(room-each, 0)))
	}
	return shares
}

// limitConnections limits the connections of all listeners together to the descriptors that the process may have open. The
// caller holds a.mu, or calls it before Run.
func (a *Agent) limitConnections(conf *config.Config) {
	limit, known := descriptorLimit()
	if !known {
		return
	}
	var doors []*listener
	var wanted []int64
	sum := int64(0)
	for _, d := range a.listeners {
		doors, wanted = append(doors, d), append(wanted, d.most)
		sum += d.most
	}
	aside := descriptorsAside(conf, limit)
	for i, most := range shareDescriptors(wanted, limit-aside) {
		doors[i].server.LimitConnections(most)
	}
	if sum > limit-aside {
		a.logger.Warn("max_connections of all listeners exceed the file descriptors of the process: they are lowered in proportion",
			"max_connections", sum, "descriptors", limit, "kept_for_the_agent", aside, "connections_at_most", limit-aside)
	}
}
