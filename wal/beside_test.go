package wal_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/standpipe/standpipe/wal"
)

// A reader that followed an appender missed blocks, or took good ones for damaged, once the newest
// segment's index had several parts: its key lay in a buffer that later commits wrote over.
func TestAReaderBesideAnAppenderMissesNothing(t *testing.T) {
	l, err := wal.Open(context.Background(), wal.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	place, err := l.Place("s", "d")
	if err != nil {
		t.Fatal(err)
	}
	const total, each = 24000, 12
	done := make(chan error, 1)
	go func() { done <- appendWide(l, total, each) }()
	for next := uint64(1); next <= total; {
		grown := l.Grown("s")
		c, err := l.Read("s", next, wal.AllLanes, 1<<20)
		if err != nil {
			t.Fatalf("from %d: %v", next, err)
		}
		if n := uint64(len(c.Events)); c.Next != next+n || n > 0 && c.Events[0].Offset != next {
			t.Fatalf("read from %d: %d events up to %d", next, n, c.Next)
		}
		next = c.Next
		place.Settle(wal.Settlement{Marks: map[uint8]wal.Mark{3: {Checkpoint: 1}}})
		if c.End && next <= total {
			<-grown
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// appendWide appends total events of some hundred bytes, so many a time.
func appendWide(l *wal.Log, total, each int) error {
	for i := 0; i < total; i += each {
		events := make([]wal.Event, each)
		for j := range events {
			n := i + j
			events[j] = wal.Event{Key: fmt.Sprint("key-", n*7919%1000), Data: make([]byte, 384+n*101%256), Time: int64(n + 1)}
		}
		if _, err := l.Append(context.Background(), &wal.Batch{Stream: "s", Events: events}); err != nil {
			return err
		}
	}
	return nil
}
