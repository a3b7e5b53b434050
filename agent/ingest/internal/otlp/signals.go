package otlp

import (
	"strings"
	"sync"

	"github.com/hashicorp/go-hclog"
)

// Signals logs each signal of OpenTelemetry that a listener rejects, once. It may be used concurrently.
type Signals struct {
	Logger hclog.Logger
	logged sync.Map // of the names of signals
}

// LogRejected logs a signal, which is one of a few.
func (s *Signals) LogRejected(signal string) {
	if _, again := s.logged.LoadOrStore(signal, nil); !again {
		s.Logger.Warn("OTLP signal rejected: only logs are taken; later requests of the signal are not logged", "signal", signal)
	}
}

// services are the packages of the gRPC services for other signals than logs, below opentelemetry.proto.collector.
var services = map[string]string{"metrics": "metrics", "trace": "traces", "profiles": "profiles"}

// SignalOf returns the signal of a gRPC method; empty: it is none that is known.
func SignalOf(method string) string {
	rest, _ := strings.CutPrefix(method, "/opentelemetry.proto.collector.")
	name, _, _ := strings.Cut(rest, ".")
	return services[name]
}
