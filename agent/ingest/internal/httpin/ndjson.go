package httpin

import (
	"bytes"
	"mime"
	"net/http"
	"unsafe"

	"github.com/standpipe/standpipe/agent/ingest/internal/intake"
	"github.com/standpipe/standpipe/agent/ingest/internal/jsonscan"
	"github.com/standpipe/standpipe/wal"
)

// maxLines bounds the events of one body: an event takes more memory than a line of one byte.
const maxLines = 256 << 10

// lineTypes are the names that bodies of one JSON value a line go by. None is registered.
var lineTypes = map[string]bool{
	"application/x-ndjson": true, "application/ndjson": true, "text/x-ndjson": true, "text/ndjson": true,
	"application/jsonl": true, "application/x-jsonl": true, "text/jsonl": true, "text/x-jsonl": true,
	"application/jsonlines": true, "application/x-jsonlines": true, "text/jsonlines": true, "text/x-jsonlines": true,
	"application/json-lines": true, "application/x-json-lines": true,
	"application/ldjson": true, "application/x-ldjson": true,
	"application/x-json-stream": true, "application/stream+json": true,
}

// sequenceTypes have a record separator before each value, and values of several lines (RFC 7464).
var sequenceTypes = map[string]bool{"application/json-seq": true, "application/geo+json-seq": true}

var errSequence = func() *intake.Rejection {
	r := intake.Invalid("a body of application/json-seq is not taken; application/x-ndjson is, one event a line without record separators")
	r.Status = http.StatusUnsupportedMediaType
	return r
}()

// ndjson reports whether the body has one event a line.
func ndjson(h http.Header) bool { return lineTypes[mediaType(h)] }

// mediaType is that of a body in lower case, without its parameters.
func mediaType(h http.Header) string {
	kind := h.Get("Content-Type")
	if kind == "" || kind == "application/json" {
		return kind
	}
	kind, _, _ = mime.ParseMediaType(kind)
	return kind
}

// fillLines makes every line of b an event of r, after the example of one. Blank lines are none.
func fillLines(r *intake.Request, b *body, format string, like wal.Event) *intake.Rejection {
	lines := bytes.Count(b.bytes, newline) + 1
	if lines > maxLines {
		return intake.TooLarge("the body has %d lines; %d are allowed", lines, maxLines)
	}
	if size := lines * int(unsafe.Sizeof(like)); size > freeBody && !b.hold(b.held+int64(size)) {
		return intake.ErrOverBudget
	}
	for line := range bytes.SplitSeq(jsonscan.TrimMark(b.bytes), newline) {
		if line = bytes.TrimSuffix(line, carriage); !isBlank(line, format) {
			like.Data = line
			r.Batch.Events = append(r.Batch.Events, like)
		}
	}
	return nil
}

// isBlank reports whether a line without its end holds no event. White space alone is one where it may be content.
func isBlank(line []byte, format string) bool {
	if format == intake.FormatJSON {
		return jsonscan.SkipSpace(line, 0) == len(line)
	}
	return len(line) == 0
}

var (
	newline  = []byte("\n")
	carriage = []byte("\r")
)

// lineOf returns the line, from 1, on which the event of that index stands.
func lineOf(b []byte, format string, event int) int {
	number := 0
	for line := range bytes.SplitSeq(jsonscan.TrimMark(b), newline) {
		number++
		if isBlank(bytes.TrimSuffix(line, carriage), format) {
			continue
		}
		if event == 0 {
			return number
		}
		event--
	}
	return 0
}
