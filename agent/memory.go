package agent

import (
	"fmt"
	"os"
	"runtime/debug"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/agent/ingest"
	"github.com/standpipe/standpipe/agent/internal/destination"
	"github.com/standpipe/standpipe/agent/internal/memory"
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
// GOMEMLIMIT and GOGC in the environment take precedence. The caller runs the Tuner, and sets its goal after each reload.
func TuneMemory(conf *config.Config) *memory.Tuner {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent)
	}
	t := memory.NewTuner(memory.Detect().With(conf.Memory), os.Getenv("GOMEMLIMIT") != "")
	t.SetGoal(MemoryGoal(conf))
	return t
}

// memoryBound returns the memory that an agent with conf may take. Less than memory.Least is an error, unless GOMEMLIMIT has
// the number for which the operator answers.
func memoryBound(conf *config.Config) (memory.Bound, error) {
	b := memory.Detect().With(conf.Memory)
	if b.Bytes > 0 && b.Bytes < memory.Least && os.Getenv("GOMEMLIMIT") == "" {
		return b, fmt.Errorf("memory: %d KiB by %s are too little: an agent needs %d KiB; GOMEMLIMIT in the environment overrides this",
			b.Bytes>>10, b.Source, memory.Least>>10)
	}
	return b, nil
}

// MemoryGoal returns the memory limit in bytes for the Go runtime while memory is not short: a fixed part for the WAL and the listeners, and a part for
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
