package sqs

import (
	"strings"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink/internal/awsclient"
)

// failed returns the response of a request that failed as a whole.
func failed(err error, batch []shipper.Record) shipper.Response {
	response := awsclient.FailedResponse(err, batch)
	e := response.Err
	switch name := shortCode(e.Code); {
	case name == "BatchRequestTooLong" && len(batch) > 1:
		e.Class, e.TooLarge = shipper.Transient, true
	case name == "InvalidParameterValue" && aboutLength(e.Text):
		e.Class = shipper.Poison
	}
	return response
}

// classify decides how a failed entry is handled. The table of awsclient has the codes that are documented for both an entry
// and a request. Of the others, those that the service blames on the sender need an operator: nothing shows that the event is
// at fault.
func classify(e *shipper.Error, senderFault bool) *shipper.Error {
	if e == nil {
		return nil
	}
	switch name := shortCode(e.Code); {
	case name == "InvalidParameterValue" && aboutLength(e.Text):
		e.Class = shipper.Poison
	case senderFault && e.Class == shipper.Transient && !awsclient.Known(e.Code):
		e.Class = shipper.Operator
	}
	return e
}

// shortCode returns the code without the prefix that the query protocol gave it.
func shortCode(code string) string { return strings.TrimPrefix(code, "AWS.SimpleQueueService.") }

// aboutLength reports whether the service rejects a message for its length: the code stands for any wrong parameter.
func aboutLength(text string) bool {
	text = strings.ToLower(text)
	return strings.Contains(text, "shorter than") || strings.Contains(text, "maximum allowed size") || strings.Contains(text, "too long")
}
