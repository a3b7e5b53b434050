package wal_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/standpipe/standpipe/wal"
)

var writeRelease = flag.String("write.release", "", "write the log that the release test opens into testdata under this name")

// releaseOptions returns options with segments that are small enough to keep in testdata.
func releaseOptions(dir string) wal.Options {
	return wal.Options{Dir: dir, MaxSize: 1 << 20, SegmentSize: 24 << 10}
}

// TestRelease_LogsOfEveryOneOpen opens logs that earlier releases wrote. A release adds a folder to testdata (go test -run
// Release -write.release v2) and never changes an existing one.
func TestRelease_LogsOfEveryOneOpen(t *testing.T) {
	if *writeRelease != "" {
		writeReleased(t, filepath.Join("testdata", *writeRelease))
	}
	dirs, err := filepath.Glob("testdata/v*")
	if err != nil || len(dirs) == 0 {
		t.Fatalf("got %v, %v, want a folder for each release", dirs, err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) { checkReleased(t, dir) })
	}
}

func releasedEvent(offset uint64) wal.Event {
	e := sampleEvent("clicks", offset)
	e.Time = int64(offset)
	if offset%3 == 0 {
		e.Attributes = map[string]string{"zone": "a", "": "empty"}
	}
	return e
}

func writeReleased(t *testing.T, dir string) {
	l, err := wal.Open(t.Context(), releaseOptions(dir))
	must(t, err)
	p, err := l.OpenCursor("clicks", "archive")
	must(t, err)
	for i := range uint64(4) {
		b := &wal.Batch{Stream: "clicks", ProducerID: "producer", ProducerSequence: i*5 + 1}
		for j := range uint64(5) {
			b.Events = append(b.Events, releasedEvent(i*5+j+1))
		}
		_, err := l.Append(t.Context(), b)
		must(t, err)
	}
	_, err = l.Append(t.Context(), &wal.Batch{Stream: "audit", Events: []wal.Event{event("k", "")}})
	must(t, err)
	p.Settle(wal.Settlement{
		Lanes: map[uint8]wal.Progress{7: {Checkpoint: 5, Settled: []wal.Run{{First: 8, Next: 9}}}},
		Add: wal.Ledger{
			Delivered: wal.Count{Events: 3, Bytes: 30}, Dead: wal.Count{Events: 2, Bytes: 20},
			Dropped:  map[string]wal.Count{wal.DroppedAge: {Events: 1, Bytes: 10}},
			Requests: 4, Records: 5, BilledBytes: 6, PutUnits: 7, LastDelivery: time.Unix(8, 9),
		},
		State: []byte("state"),
	})
	must(t, l.Close())
	must(t, os.Remove(filepath.Join(dir, "LOCK")))
	files, err := filepath.Glob(filepath.Join(dir, "wal", "*"))
	must(t, err)
	for _, file := range files { // the space that is allocated ahead is zeros
		data, err := os.ReadFile(file)
		must(t, err)
		pages := (len(bytes.TrimRight(data, "\x00")) + 4095) / 4096
		must(t, os.Truncate(file, int64(pages)*4096))
	}
}

func checkReleased(t *testing.T, released string) {
	dir := t.TempDir()
	copyDir(t, dir, released)
	l := open(t, releaseOptions(dir))
	events := readAll(t, l, "clicks", 1, wal.AllLanes)
	if len(events) != 20 || l.Next("clicks") != 21 {
		t.Fatalf("got %d events, next %d, want 20 and 21", len(events), l.Next("clicks"))
	}
	for i := range events {
		if want := releasedEvent(uint64(i) + 1); !sameEvent(&events[i], &want) || events[i].Offset != uint64(i)+1 {
			t.Errorf("got %+v, want %+v", events[i], want)
		}
	}
	p, err := l.OpenCursor("clicks", "archive")
	must(t, err)
	st := p.Stat()
	if st.Delivered != (wal.Count{Events: 3, Bytes: 30}) || st.Dead != (wal.Count{Events: 2, Bytes: 20}) || st.Dropped[wal.DroppedAge].Events != 1 ||
		st.Requests != 4 || st.Records != 5 || st.BilledBytes != 6 || st.PutUnits != 7 || !st.LastDelivery.Equal(time.Unix(8, 9)) || st.Pending.Events != 14 {
		t.Errorf("got %+v", st)
	}
	if m := p.Lanes()[7]; m.Checkpoint != 5 || !m.Done(8) || m.Done(7) || string(p.State()) != "state" {
		t.Errorf("got %+v, state %q", m, p.State())
	}
	got, err := l.Append(t.Context(), &wal.Batch{Stream: "clicks", ProducerID: "producer", ProducerSequence: 16, Events: events[15:20]})
	if want := (wal.Appended{First: 16, Count: 5, Duplicate: true}); err != nil || got != want {
		t.Errorf("a batch sent again: got %+v, %v, want %+v", got, err, want)
	}
	if got := appendOne(t, l, "clicks", "k", "x").First; got != 21 {
		t.Errorf("got offset %d, want 21", got)
	}
}
