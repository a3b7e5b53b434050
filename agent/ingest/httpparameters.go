package ingest

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/standpipe/standpipe/wal"
)

// What a POST says beside its body, as net/http writes the names of headers.
const (
	timeHeader       = "X-Event-Time"
	producerHeader   = "X-Producer-Id"
	sequenceHeader   = "X-Producer-Sequence"
	attributesHeader = "X-Attribute-" // and a name, which is taken in lower case
)

var postHeaders = []string{timeHeader, producerHeader, sequenceHeader}

// parameters reads the query and the headers; e gets what is every event's.
func (p *posts) parameters(q *request, e *wal.Event, r *http.Request) (refused *refusal) {
	e.Key = first(r.Header, p.keyHeader)
	q.batch.ProducerID = first(r.Header, producerHeader)
	if at := first(r.Header, timeHeader); at != "" {
		if e.Time, refused = eventTime(timeHeader, at); refused != nil {
			return refused
		}
	}
	if n := first(r.Header, sequenceHeader); n != "" {
		if q.batch.ProducerSequence, refused = sequence(n); refused != nil {
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

// query reads key, ack and time, which go before a header's.
func query(q *request, e *wal.Event, raw string) (refused *refusal) {
	if raw == "" {
		return nil
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return invalid("the query of %d bytes is not encoded as a URL's has to be", len(raw))
	}
	for name, v := range values {
		if len(v) > 1 {
			return invalid("the query has %s %d times; once is allowed", quoteName(name), len(v))
		}
		switch name {
		case "key":
			e.Key = v[0]
		case "ack":
			q.ack, refused = ackOf(v[0])
		case "time":
			if e.Time, refused = eventTime(name, v[0]); refused != nil && strings.Contains(v[0], " ") {
				refused.text += "; in a query + is written %2B"
			}
		default:
			return invalid("the query has %s, which is unknown; key, ack and time are allowed", quoteName(name))
		}
		if refused != nil {
			return refused
		}
	}
	return nil
}

func sequence(s string) (uint64, *refusal) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, invalid("%s is %s; a whole number from 1 to 18446744073709551615 is allowed", sequenceHeader, quoteName(s))
	}
	return n, nil
}

func attributesOf(h http.Header) (map[string]string, *refusal) {
	var attributes map[string]string
	for header, values := range h {
		name, ok := strings.CutPrefix(header, attributesHeader)
		if !ok || name == "" {
			continue
		}
		if !utf8.ValidString(values[0]) {
			return nil, invalid("%s of %d bytes is not valid UTF-8", quoteName(header), len(values[0]))
		}
		if attributes == nil {
			attributes = make(map[string]string)
		}
		attributes[strings.ToLower(name)] = values[0]
	}
	return attributes, nil
}
