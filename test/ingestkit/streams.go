package ingestkit

import (
	"errors"
	"fmt"

	"github.com/standpipe/standpipe/agent/ingest"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/wal"
)

// Streams are the rules of streams by name.
type Streams map[string]ingest.StreamRules

// Lookup returns the rules of a stream. The destination of stream "opening" cannot be opened.
func (s Streams) Lookup(name string) (ingest.StreamRules, error) {
	rules, ok := s[name]
	switch {
	case name == "opening":
		return rules, errors.New("open destination: no such folder")
	case !ok:
		return rules, fmt.Errorf("stream %q: %w", name, ingest.ErrNoStream)
	}
	return rules, nil
}

// TestStreams are the streams of a listener of Serve, unless its options name others.
var TestStreams = Streams{
	"json":  {Format: ingest.FormatJSON, MaxEventSize: 1000},
	"text":  {Format: ingest.FormatText, MaxEventSize: 1000},
	"bytes": {Format: ingest.FormatBytes},
	"loose": {Format: ingest.FormatBytes, Ack: standpipev1.Ack_ACK_ACCEPTED},
	"bench": {Format: ingest.FormatJSON, MaxEventSize: 1 << 20},
	"roomy": {
		Format: ingest.FormatBytes, MaxEventSize: 1000,
		Room: func(e *wal.Event) (int, string) { return 100 - len(e.Key), `kinesis "live"` },
	},
}
