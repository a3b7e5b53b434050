package walcmd

import (
	"io"
	"time"

	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
	"github.com/standpipe/standpipe/wal/inspect"
)

// The inspection as JSON, with the field names of /v1/status.
type (
	inspectionJSON struct {
		ID         string        `json:"id"`
		Segments   []segmentJSON `json:"segments"`
		SetAside   []fileJSON    `json:"set_aside"`
		Unfinished []fileJSON    `json:"unfinished"`
		Streams    []streamJSON  `json:"streams"`
		Cursors    []cursorJSON  `json:"destinations"`
		Missing    []missingJSON `json:"missing"`
	}
	fileJSON struct {
		Name      string `json:"name"`
		DiskBytes int64  `json:"disk_bytes"`
		SizeBytes int64  `json:"size_bytes"`
	}
	segmentJSON struct {
		fileJSON
		Number  uint64              `json:"number"`
		State   string              `json:"state"`
		Fault   string              `json:"fault,omitempty"`
		Streams []segmentStreamJSON `json:"streams"`
	}
	segmentStreamJSON struct {
		Name   string `json:"name"`
		First  uint64 `json:"first_offset"`
		Next   uint64 `json:"next_offset"`
		Events uint64 `json:"events"`
		Bytes  uint64 `json:"bytes"`
		Live   uint64 `json:"live_events"`
	}
	streamJSON struct {
		Name     string    `json:"name"`
		First    uint64    `json:"first_offset"`
		Next     uint64    `json:"next_offset"`
		Appended countJSON `json:"appended"`
	}
	missingJSON struct {
		Stream string   `json:"stream"`
		First  uint64   `json:"first_offset"`
		Next   uint64   `json:"next_offset"`
		Files  []string `json:"files"`
	}
	countJSON struct {
		Events uint64 `json:"events"`
		Bytes  uint64 `json:"bytes"`
	}
	cursorJSON struct {
		Stream       string               `json:"stream"`
		Name         string               `json:"name"`
		Checkpoint   uint64               `json:"checkpoint"`
		Appended     countJSON            `json:"appended"`
		Delivered    countJSON            `json:"delivered"`
		Dead         countJSON            `json:"dead"`
		Dropped      map[string]countJSON `json:"dropped"`
		Pending      countJSON            `json:"pending"`
		LastDelivery *time.Time           `json:"last_delivery_at,omitempty"`
		ParkedAt     *time.Time           `json:"parked_at,omitempty"`
		PausedAt     *time.Time           `json:"paused_at,omitempty"`
		Forgotten    bool                 `json:"forgotten,omitempty"` // its events were dropped after it was parked
	}
)

func writeJSON(out io.Writer, in *inspect.Inspection) error {
	doc := inspectionJSON{
		ID: in.ID, SetAside: filesJSON(in.SetAside), Unfinished: filesJSON(in.Unfinished),
		Segments: []segmentJSON{}, Streams: []streamJSON{}, Cursors: []cursorJSON{},
		Missing: []missingJSON{},
	}
	for _, s := range in.Segments {
		doc.Segments = append(doc.Segments, segmentAsJSON(s))
	}
	for _, s := range in.Streams {
		doc.Streams = append(doc.Streams, streamJSON{s.Name, s.First, s.Next, countJSON(s.Appended)})
	}
	for _, p := range in.Cursors {
		doc.Cursors = append(doc.Cursors, cursorAsJSON(p))
	}
	for _, m := range in.Missing {
		doc.Missing = append(doc.Missing, missingJSON{m.Stream, m.First, m.Next, append([]string{}, m.Why...)})
	}
	return cli.WriteJSON(out, doc)
}

func filesJSON(files []inspect.FileInfo) []fileJSON {
	list := []fileJSON{}
	for _, f := range files {
		list = append(list, fileJSON{f.Name, f.Disk, f.Size})
	}
	return list
}

func segmentAsJSON(s inspect.SegmentInfo) segmentJSON {
	doc := segmentJSON{
		fileJSON: fileJSON{s.Name, s.Disk, s.Size}, Number: s.Seq,
		State: string(s.State), Fault: s.Fault, Streams: []segmentStreamJSON{},
	}
	for _, st := range s.Streams {
		doc.Streams = append(doc.Streams, segmentStreamJSON{st.Stream, st.First, st.Next, st.Held.Events, st.Held.Bytes, st.Live})
	}
	return doc
}

func cursorAsJSON(p inspect.InspectedCursor) cursorJSON {
	doc := cursorJSON{
		Stream: p.Stream, Name: p.Destination, Checkpoint: p.Checkpoint, Appended: countJSON(p.Appended),
		Delivered: countJSON(p.Delivered), Dead: countJSON(p.Dead), Pending: countJSON(p.Pending),
		Dropped:      make(map[string]countJSON),
		LastDelivery: timeJSON(p.LastDelivery), ParkedAt: timeJSON(p.Parking.At), PausedAt: timeJSON(p.Paused), Forgotten: p.Parking.Forgotten,
	}
	for reason, c := range p.Dropped {
		doc.Dropped[reason] = countJSON(c)
	}
	return doc
}

// timeJSON returns nil for the zero time.
func timeJSON(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
