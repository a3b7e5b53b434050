package socketin

import (
	"encoding/json"
	"strconv"

	"github.com/standpipe/standpipe/agent/ingest/internal/intake"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
)

// appendReply appends the reply line of t:
//
//	{"offset":17}
//	{"offset":17,"duplicate":true}      stored before; the offset is the old one
//	{"offset":0}                        ack accepted: the offset is not known yet
//	{"offset":17,"ack":"durable"}       ack delivered was asked for, durable was reached
//	{"error":"...","code":"RESOURCE_EXHAUSTED","retry_after":"1s"}
func appendReply(dst []byte, t *intake.Submission, r *intake.Response, refused *intake.Rejection) []byte {
	if refused != nil {
		return appendRefusal(dst, refused)
	}
	dst = append(dst, `{"offset":`...)
	dst = strconv.AppendUint(dst, r.FirstOffset, 10)
	if r.Duplicate {
		dst = append(dst, `,"duplicate":true`...)
	}
	if r.Ack == standpipev1.Ack_ACK_DURABLE && t.Ack == standpipev1.Ack_ACK_DELIVERED {
		dst = append(dst, `,"ack":"durable"`...)
	}
	return append(dst, "}\n"...)
}

// appendRefusal leaves the event's index out: a line has one event.
func appendRefusal(dst []byte, r *intake.Rejection) []byte {
	line := struct {
		Error      string `json:"error"`
		Code       string `json:"code"`
		RetryAfter string `json:"retry_after,omitempty"`
	}{Error: r.Text, Code: intake.CodeName(r.Code)}
	if r.Retry > 0 {
		line.RetryAfter = r.Retry.String()
	}
	encoded, err := json.Marshal(line)
	if err != nil {
		panic(err) // three strings
	}
	return append(append(dst, encoded...), '\n')
}
