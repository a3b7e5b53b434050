package livetail

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/standpipe/standpipe/wal"
)

const (
	// pace is the shortest time between two reads.
	pace = 200 * time.Millisecond
	// chunkSize is the memory of the events that a view reads at once.
	chunkSize = 256 << 10
	// maxEvents bounds the events that a view sends at once.
	maxEvents = 100
	// maxBehind is the number of events behind the end of the stream after which a view skips; keyedBehind is that of a view of some
	// keys, which sends a part of the events that it reads.
	maxBehind, keyedBehind = 1000, 10_000
	// heartbeat is the time without anything else after which a position is sent.
	heartbeat = 15 * time.Second
	// writeTimeout is the time that a client has for each write.
	writeTimeout = 10 * time.Second
	// rereadDelay is the pause after a failed read of the disk.
	rereadDelay = time.Second
)

// view is one request.
type view struct {
	log    Log
	stream string
	asked  query
	w      http.ResponseWriter
	wire   *http.ResponseController
	buffer bytes.Buffer // of the next write
	sent   time.Time    // the time of the last write

	next   uint64 // offset
	strict bool   // an offset that is left out before the next event is reported
}

// run sends events until the client is gone, mayRead returns an error, or the server stops.
func (v *view) run(gone, stopping <-chan struct{}, mayRead func() error) {
	v.buffer.WriteString("retry: 2000\n\n")
	v.position()
	// wait waits for a time, or until the stream has grown. It returns false at the end of the view.
	wait := func(limit time.Duration, grown <-chan struct{}) bool {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-grown:
		case <-gone:
			return false
		case <-stopping:
			return false
		}
		return true
	}
	for mayRead() == nil {
		grown := v.log.Grown(v.stream)
		pause, end := v.step()
		if v.buffer.Len() == 0 && time.Since(v.sent) >= heartbeat {
			v.position()
		}
		if v.flush() != nil || !wait(pause, nil) || end && !wait(heartbeat, grown) {
			return
		}
	}
}

// step reads once. It returns the time until the next step, and whether the view is at the end of the stream.
func (v *view) step() (pause time.Duration, end bool) {
	v.skipToNewest()
	chunk, err := v.log.Read(v.stream, v.next, wal.AllLanes, chunkSize)
	if _, corrupt := errors.AsType[*wal.CorruptError](err); corrupt {
		v.skip(max(v.log.Next(v.stream), v.next), "damaged")
		return rereadDelay, true
	}
	if err != nil {
		return rereadDelay, false
	}
	sent := 0
	for i := range chunk.Events {
		e := &chunk.Events[i]
		if sent == maxEvents {
			return pace, false
		}
		v.leaveOut(e.Offset)
		v.next, v.strict = e.Offset+1, true
		if v.asked.keys == nil || slices.Contains(v.asked.keys, e.Key) {
			v.event(e)
			sent++
		}
	}
	v.leaveOut(chunk.Next)
	return pace, chunk.End
}

// skipToNewest goes on near the end if the view is far behind it.
func (v *view) skipToNewest() {
	limit := uint64(maxBehind)
	if v.asked.keys != nil {
		limit = keyedBehind
	}
	if end := v.log.Next(v.stream); end > v.next+limit {
		v.skip(end-maxEvents, "behind")
	}
}

// leaveOut goes on at an offset. The log has no events before it.
func (v *view) leaveOut(next uint64) {
	switch {
	case next <= v.next:
	case v.strict:
		v.skip(next, "gone")
	default:
		v.next = next
	}
}

func (v *view) skip(next uint64, reason string) {
	if next == v.next {
		return
	}
	from := v.next
	v.next, v.strict = next, true
	v.write("skipped", next-1, struct {
		From   uint64 `json:"from"`
		Next   uint64 `json:"next"`
		Reason string `json:"reason"`
	}{from, next, reason})
}

func (v *view) position() {
	v.write("position", v.next-1, struct {
		Next uint64 `json:"next"`
		Lag  uint64 `json:"lag"`
	}{v.next, v.lag()})
}

// lag returns the number of events behind the next one of the view, with it.
func (v *view) lag() uint64 { return v.log.Next(v.stream) - v.next }

func (v *view) event(e *wal.Event) { v.write("", e.Offset, show(e, v.lag())) }

// write adds a server-sent event. JSON is on one line, and has < > and & as escapes.
func (v *view) write(kind string, id uint64, data any) {
	text, err := json.Marshal(data)
	if err != nil {
		return // no value of ours has an error
	}
	if kind != "" {
		fmt.Fprintf(&v.buffer, "event: %s\n", kind)
	}
	fmt.Fprintf(&v.buffer, "id: %d\ndata: %s\n\n", id, text)
}

// flush sends the buffer.
func (v *view) flush() error {
	if v.buffer.Len() == 0 {
		return nil
	}
	if err := v.wire.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	_, err := v.w.Write(v.buffer.Bytes())
	v.buffer.Reset()
	v.sent = time.Now()
	if err != nil {
		return err
	}
	return v.wire.Flush()
}
