package awsclient

import (
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink/internal/failure"
)

// Result is one record's entry in a response of either service.
type Result struct {
	ID   *string // the service's ID of the stored record: a sequence number or a record ID
	Code *string
	Text *string
}

// ResponseOf evaluates every entry of a response to n records. HTTP 200 alone is no success. If the response has
// another number of entries than n, or counts more failures than its entries show, its outcome is unknown. An entry
// that has neither the ID of a stored record nor an error code is a failure.
func ResponseOf(n int, failed *int32, entries []Result) shipper.Response {
	if len(entries) != n {
		return BadResponse("%d results for %d records", len(entries), n)
	}
	results, failures := make([]*shipper.Error, n), 0
	for i, r := range entries {
		results[i] = r.err()
		if results[i] != nil {
			failures++
		}
	}
	if failed != nil && int(*failed) > failures {
		return BadResponse("%d failures are counted and %d are shown", *failed, failures)
	}
	return shipper.Response{Results: results, Code: "200"}
}

func (r Result) err() *shipper.Error {
	switch {
	case aws.ToString(r.Code) != "":
		return classifyRecord(*r.Code, aws.ToString(r.Text))
	case aws.ToString(r.ID) == "":
		return &shipper.Error{Code: failure.CodeBadResponse, Text: "a result without an id or an error code", Record: -1}
	}
	return nil
}

// BadResponse returns a response whose outcome is unknown, because the service's response is malformed.
func BadResponse(format string, args ...any) shipper.Response {
	e := &shipper.Error{Code: failure.CodeBadResponse, Text: fmt.Sprintf(format, args...), Record: -1}
	return shipper.Response{Err: e, Code: "200"}
}

// FailedResponse returns the response of a request that failed as a whole.
func FailedResponse(err error, batch []shipper.Record) shipper.Response {
	e, code := Classify(err, batch)
	return shipper.Response{Err: e, Code: code}
}
