package httpin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/standpipe/standpipe/agent/ingest/internal/intake"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
)

// writeResponse writes the reply of t:
//
//	200 {"offset":17,"count":3}
//	200 {"offset":17,"count":3,"duplicate":true}   stored before; the offset is the old one
//	200 {"offset":17,"count":3,"ack":"durable"}    ack delivered was asked for, durable was reached
//	202 {"offset":0,"count":3}                     ack accepted: the offset is not known yet
func writeResponse(out http.ResponseWriter, t *intake.Submission, r *intake.Response) {
	line := make([]byte, 0, 96)
	line = strconv.AppendUint(append(line, `{"offset":`...), r.FirstOffset, 10)
	line = strconv.AppendInt(append(line, `,"count":`...), int64(r.Count), 10)
	if r.Duplicate {
		line = append(line, `,"duplicate":true`...)
	}
	if r.Ack == standpipev1.Ack_ACK_DURABLE && t.Ack == standpipev1.Ack_ACK_DELIVERED {
		line = append(line, `,"ack":"durable"`...)
	}
	status := http.StatusOK
	if t.Ack == standpipev1.Ack_ACK_ACCEPTED {
		status = http.StatusAccepted
	}
	writeJSON(out, status, append(line, "}\n"...))
}

var jsonType = []string{"application/json"}

func writeJSON(out http.ResponseWriter, status int, line []byte) {
	out.Header()["Content-Type"] = jsonType
	out.WriteHeader(status)
	out.Write(line) // a producer that has gone has no use for an error
}

// writeRejection writes why a request was refused. The event counts from 0, its line from 1:
//
//	422 {"error":"event 2 (line 4): ...","code":"INVALID_ARGUMENT","event":2,"line":4}
//	429 {"error":"...","code":"RESOURCE_EXHAUSTED","retry_after":"1s"}
func writeRejection(out http.ResponseWriter, r *intake.Rejection) {
	line := struct {
		Error      string `json:"error"`
		Code       string `json:"code"`
		Event      *int   `json:"event,omitempty"`
		Line       int    `json:"line,omitempty"`
		RetryAfter string `json:"retry_after,omitempty"`
	}{Error: r.Text, Code: intake.CodeName(r.Code), Line: r.Line}
	if r.Line > 0 {
		line.Event = &r.Event
		line.Error = fmt.Sprintf("event %d (line %d): %s", r.Event, r.Line, r.Text)
	}
	if wait := r.RetryAfter(); wait > 0 {
		line.RetryAfter = wait.String()
	}
	setRetryAfter(out, r.RetryAfter())
	encoded, err := json.Marshal(line)
	if err != nil {
		panic(err) // strings and numbers
	}
	writeJSON(out, statusOf(r), append(encoded, '\n'))
}

func setRetryAfter(out http.ResponseWriter, wait time.Duration) {
	if wait > 0 {
		out.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
	}
}

// statusOf returns the status of a rejection.
func statusOf(r *intake.Rejection) int {
	if r.Status != 0 {
		return r.Status
	}
	switch r.Reason {
	case intake.ReasonFormat:
		return http.StatusUnprocessableEntity
	case intake.ReasonTooLarge:
		return http.StatusRequestEntityTooLarge
	case intake.ReasonSequence:
		return http.StatusConflict
	}
	return statuses[r.Code]
}

// RejectConn is the response to a rejected connection.
func RejectConn(line string) string {
	return fmt.Sprintf("HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(line), line)
}

var statuses = map[codes.Code]int{
	codes.InvalidArgument:   http.StatusBadRequest,
	codes.Unauthenticated:   http.StatusUnauthorized,
	codes.PermissionDenied:  http.StatusForbidden,
	codes.NotFound:          http.StatusNotFound,
	codes.ResourceExhausted: http.StatusTooManyRequests,
	codes.Unavailable:       http.StatusServiceUnavailable,
	codes.Canceled:          http.StatusServiceUnavailable, // seen only when the agent stops
	codes.DeadlineExceeded:  http.StatusGatewayTimeout,
}
