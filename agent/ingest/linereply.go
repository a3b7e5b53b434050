package ingest

import (
	"encoding/json"
	"strconv"

	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
)

// appendReply appends the reply line of t:
//
//	{"offset":17}
//	{"offset":17,"duplicate":true}      stored before; the offset is the old one
//	{"offset":0}                        ack accepted: the offset is not known yet
//	{"offset":17,"ack":"durable"}       ack delivered was asked for, durable was reached
//	{"error":"...","code":"RESOURCE_EXHAUSTED","retry_after":"1s"}
func appendReply(dst []byte, t *taken, r *reply, refused *refusal) []byte {
	if refused != nil {
		return appendRefusal(dst, refused)
	}
	dst = append(dst, `{"offset":`...)
	dst = strconv.AppendUint(dst, r.first, 10)
	if r.duplicate {
		dst = append(dst, `,"duplicate":true`...)
	}
	if r.ack == standpipev1.Ack_ACK_DURABLE && t.ack == standpipev1.Ack_ACK_DELIVERED {
		dst = append(dst, `,"ack":"durable"`...)
	}
	return append(dst, "}\n"...)
}

// appendRefusal leaves the event's index out: a line has one event.
func appendRefusal(dst []byte, r *refusal) []byte {
	line := struct {
		Error      string `json:"error"`
		Code       string `json:"code"`
		RetryAfter string `json:"retry_after,omitempty"`
	}{Error: r.text, Code: codeName(r.code)}
	if r.retry > 0 {
		line.RetryAfter = r.retry.String()
	}
	encoded, err := json.Marshal(line)
	if err != nil {
		panic(err) // three strings
	}
	return append(append(dst, encoded...), '\n')
}
