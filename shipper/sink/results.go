package sink

import (
	"fmt"

	"github.com/standpipe/standpipe/shipper"
)

// result is one record's entry in a reply of either service.
type result struct {
	id   *string // the service's name for what it stored: a sequence number or a record id
	code *string
	text *string
}

// replyOf looks at every entry of a reply to n records. HTTP 200 alone says nothing: a reply
// that has another number of entries, or that counts more failures than its entries show, is
// read as an unknown outcome; an entry that names neither what was stored nor why it was not is
// a failure.
func replyOf(n int, failed *int32, entries []result) shipper.Response {
	if len(entries) != n {
		return badReply("%d results for %d records", len(entries), n)
	}
	results, failures := make([]*shipper.Error, n), 0
	for i, r := range entries {
		results[i] = r.err()
		if results[i] != nil {
			failures++
		}
	}
	if failed != nil && int(*failed) > failures {
		return badReply("%d failures are counted and %d are shown", *failed, failures)
	}
	return shipper.Response{Results: results, Code: "200"}
}

func (r result) err() *shipper.Error {
	switch {
	case text(r.code) != "":
		return classifyRecord(*r.code, text(r.text))
	case text(r.id) == "":
		return &shipper.Error{Code: codeBadReply, Text: "a result without an id or an error code", Record: -1}
	}
	return nil
}

func badReply(format string, args ...any) shipper.Response {
	e := &shipper.Error{Code: codeBadReply, Text: fmt.Sprintf(format, args...), Record: -1}
	return shipper.Response{Err: e, Code: "200"}
}

func failedReply(err error, batch []shipper.Record) shipper.Response {
	e, code := classify(err, batch)
	return shipper.Response{Err: e, Code: code}
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
