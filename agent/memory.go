package agent

import (
	"os"
	"runtime/debug"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/agent/ingest"
	"github.com/standpipe/standpipe/agent/internal/destination"
)

const (
	memoryOfLog = 88 << 20
	// memoryOfIdle is the memory of one destination of an idle stream: two stacks and its cursor. memoryOfLog includes
	// as many as one pattern creates by default.
	memoryOfIdle = 48 << 10
	// memoryOfConnection is the memory of one idle connection. memoryOfLog includes the default max_connections.
	memoryOfConnection = 24 << 10
	// garbagePercent is the GOGC value. The live heap is small, so the default of 100 would collect tens of times a
	// second.
	garbagePercent = 200
)

// TuneMemory sets the memory limit and the GC percentage of the Go runtime for a process that only runs an agent with conf.
// GOMEMLIMIT and GOGC in the environment take precedence.
func TuneMemory(conf *config.Config) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(MemoryGoal(conf))
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent)
	}
}

// MemoryGoal returns the memory limit in bytes for the Go runtime: a fixed part for the WAL and the listeners, and a part for
// each destination. Only large requests at full speed come near it; the runtime then collects garbage sooner.
func MemoryGoal(conf *config.Config) int64 {
	goal := int64(memoryOfLog)
	for i := range conf.Streams {
		s := &conf.Streams[i]
		idle := memoryOfIdle * max(0, s.MaxStreams-config.DefaultMaxStreams)
		for _, d := range s.Destinations {
			goal += idle
			if t, err := destination.Of(d); err == nil {
				goal += t.Memory(d)
			}
		}
	}
	for i := range conf.Listeners {
		goal += memoryOfConnection * max(0, conf.Listeners[i].MaxConnections-ingest.DefaultMaxConnections)
	}
	return goal
}
