package testkit

import (
	"context"
	"testing"

	"github.com/standpipe/standpipe/wal"
)

// OpenLog opens a log, in a folder of its own unless o names one, and closes it when the test ends.
func OpenLog(t testing.TB, o wal.Options) *wal.Log {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	l, err := wal.Open(t.Context(), o)
	Must(t, err)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// AppendOne appends one event and waits until it is durable.
func AppendOne(t testing.TB, l *wal.Log, stream, key, data string) wal.Appended {
	t.Helper()
	a, err := l.Append(context.Background(), &wal.Batch{Stream: stream, Events: []wal.Event{{Key: key, Data: []byte(data), Time: 1}}})
	Must(t, err)
	return a
}

// ReadAll reads the events of a stream's lanes from an offset to the end.
func ReadAll(t testing.TB, l *wal.Log, stream string, from uint64, lanes wal.LaneSet) (events []wal.Event) {
	t.Helper()
	for {
		chunk, err := l.Read(stream, from, lanes, 1<<20)
		Must(t, err)
		events = append(events, chunk.Events...)
		from = chunk.Next
		if chunk.End {
			return events
		}
	}
}
