package ingest

import (
	"bytes"
	"mime"
	"net/http"
	"unsafe"

	"github.com/standpipe/standpipe/wal"
)

// maxLines bounds the events of one body: an event takes more memory than a line of one byte.
const maxLines = 256 << 10

// ndjson tells whether the body has one event a line.
func ndjson(h http.Header) bool {
	kind := h.Get("Content-Type")
	if kind == "" || kind == "application/json" {
		return false
	}
	kind, _, _ = mime.ParseMediaType(kind)
	return kind == "application/x-ndjson" || kind == "application/ndjson" || kind == "application/jsonl"
}

// fillLines makes every line of b an event of r, after the example of one. Empty lines are none.
func fillLines(r *request, b *body, like wal.Event) *refusal {
	lines := bytes.Count(b.bytes, newline) + 1
	if lines > maxLines {
		return tooLarge("the body has %d lines; %d are allowed", lines, maxLines)
	}
	if size := lines * int(unsafe.Sizeof(like)); size > freeBody && !b.hold(b.taken+int64(size)) {
		return errNoRoom
	}
	for line := range bytes.SplitSeq(b.bytes, newline) {
		if line = bytes.TrimSuffix(line, carriage); len(line) > 0 {
			like.Data = line
			r.batch.Events = append(r.batch.Events, like)
		}
	}
	return nil
}

var (
	newline  = []byte("\n")
	carriage = []byte("\r")
)

// lineOf returns the line, from 1, on which the event of that index stands.
func lineOf(b []byte, event int) int {
	number := 0
	for line := range bytes.SplitSeq(b, newline) {
		number++
		if len(bytes.TrimSuffix(line, carriage)) == 0 {
			continue
		}
		if event == 0 {
			return number
		}
		event--
	}
	return 0
}
