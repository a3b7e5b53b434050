package httpin

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/standpipe/standpipe/agent/ingest/internal/intake"
	"github.com/standpipe/standpipe/wal"
)

// The headers of a POST, as net/http writes their names.
const (
	timeHeader       = "X-Event-Time"
	producerHeader   = "X-Producer-Id"
	sequenceHeader   = "X-Producer-Sequence"
	attributesHeader = "X-Attribute-" // and a name, which is taken in lower case
)

var postHeaders = []string{timeHeader, producerHeader, sequenceHeader}

// parameters reads the query and the headers of a POST. e gets the values that hold for every event.
func (p *posts) parameters(q *intake.Request, e *wal.Event, r *http.Request) (refused *intake.Rejection) {
	e.Key = first(r.Header, p.keyHeader)
	q.Batch.ProducerID = first(r.Header, producerHeader)
	if at := first(r.Header, timeHeader); at != "" {
		if e.Time, refused = intake.ParseTime(timeHeader, at); refused != nil {
			return refused
		}
		e.Timeline = 0
	}
	if n := first(r.Header, sequenceHeader); n != "" {
		if q.Batch.ProducerSequence, refused = sequence(n); refused != nil {
			return refused
		}
	}
	if e.Attributes, refused = attributesOf(r.Header); refused != nil {
		return refused
	}
	return query(q, e, r.URL.RawQuery)
}

func first(h http.Header, name string) string {
	if values := h[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// query reads key, ack and time, which take precedence over a header.
func query(q *intake.Request, e *wal.Event, raw string) (refused *intake.Rejection) {
	if raw == "" {
		return nil
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return intake.Invalid("the query of %d bytes is not encoded as a URL's has to be", len(raw))
	}
	for name, v := range values {
		if len(v) > 1 {
			return intake.Invalid("the query has %s %d times; once is allowed", intake.QuoteName(name), len(v))
		}
		switch name {
		case "key":
			e.Key = v[0]
		case "ack":
			q.Ack, refused = intake.ParseAck(v[0])
		case "time":
			e.Timeline = 0
			if e.Time, refused = intake.ParseTime(name, v[0]); refused != nil && strings.Contains(v[0], " ") {
				refused.Text += "; in a query + is written %2B"
			}
		default:
			return intake.Invalid("the query has %s, which is unknown; key, ack and time are allowed", intake.QuoteName(name))
		}
		if refused != nil {
			return refused
		}
	}
	return nil
}

func sequence(s string) (uint64, *intake.Rejection) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, intake.Invalid("%s is %s; a whole number from 1 to 18446744073709551615 is allowed", sequenceHeader, intake.QuoteName(s))
	}
	return n, nil
}

func attributesOf(h http.Header) (map[string]string, *intake.Rejection) {
	var attributes map[string]string
	for header, values := range h {
		name, ok := strings.CutPrefix(header, attributesHeader)
		if !ok || name == "" {
			continue
		}
		if !utf8.ValidString(values[0]) {
			return nil, intake.Invalid("%s of %d bytes is not valid UTF-8", intake.QuoteName(header), len(values[0]))
		}
		if attributes == nil {
			attributes = make(map[string]string)
		}
		attributes[strings.ToLower(name)] = values[0]
	}
	return attributes, nil
}
