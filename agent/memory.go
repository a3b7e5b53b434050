package agent

import (
	"os"
	"runtime/debug"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/agent/ingest"
)

const (
	memoryOfLog         = 88 << 20
	memoryOfDestination = 8 << 20
	// memoryOfIdle is what a destination of a stream that waits for events holds, two stacks and its place in the
	// log: 40 KB measured with 5,000 of them. As many as a pattern makes by default are in memoryOfLog.
	memoryOfIdle = 48 << 10
	// memoryOfConnection is what a silent connection holds, 11 to 17 KB measured with 10,000 of each kind. As many as
	// there may be by default are in memoryOfLog.
	memoryOfConnection = 24 << 10
	// garbagePercent is how much garbage may gather before the Go runtime looks for it, as a part of what is in use.
	// That is 5 to 10 MB with single events, so that with its default of 100 it looked tens of times a
	// second, for a tenth of the processor time.
	garbagePercent = 200
)

// TuneMemory tells the Go runtime how much memory to take in a process that runs an agent as conf says, and
// nothing else, and when to look for garbage within that. GOMEMLIMIT and GOGC in the environment go before it.
func TuneMemory(conf *config.Config) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(MemoryGoal(conf))
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent)
	}
}

// MemoryGoal is the memory in bytes that the Go runtime should aim to stay within. Left alone it lets the heap grow to
// a multiple of what is in use, which large requests at full speed made 140 MB with Go's own percentage; the goal
// makes it collect sooner then, and is not reached otherwise. What the shipper of a destination holds comes on top
// for each one.
func MemoryGoal(conf *config.Config) int64 {
	goal := int64(memoryOfLog)
	for i := range conf.Streams {
		s := &conf.Streams[i]
		idle := memoryOfIdle * max(0, s.MaxStreams-config.DefaultMaxStreams)
		goal += (memoryOfDestination + idle) * int64(len(s.Destinations))
	}
	for i := range conf.Listeners {
		goal += memoryOfConnection * max(0, conf.Listeners[i].MaxConnections-ingest.DefaultMaxConnections)
	}
	return goal
}
