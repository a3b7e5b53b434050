package awsclient

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// WholeBody is the SDK's protocol, but encodes the bodies of requests that carry records itself.
//
// The SDK (smithy-go v1.28.8) grows its buffer as it encodes, and encodes each payload into a buffer of its own first:
// a body of 5 MiB costs allocations and copies of about 20 MiB. The length is known beforehand, so Encode needs one
// buffer. The buffer is not reused: net/http may still read a body whose response has arrived.
type WholeBody struct {
	smithyhttp.ClientProtocol
	// Encode returns the body of in, and the same input without its records; nil if the SDK is to encode in.
	Encode func(in smithy.Serializable) (body []byte, empty smithy.Serializable)
}

// SerializeRequest makes the SDK's protocol build the request without its records, and sets the body that Encode
// returned.
func (p WholeBody) SerializeRequest(ctx context.Context, op *smithy.OperationSchema, in smithy.Serializable, req *smithyhttp.Request) error {
	body, empty := p.Encode(in)
	if body == nil {
		return p.ClientProtocol.SerializeRequest(ctx, op, in, req)
	}
	if err := p.ClientProtocol.SerializeRequest(ctx, op, empty, req); err != nil {
		return err
	}
	whole, err := req.SetStream(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("set body: %w", err)
	}
	*req = *whole
	return nil
}

// Body returns the body that Encode returned.
func (p WholeBody) Body(in smithy.Serializable) (body Body, contentType string) {
	encoded, _ := p.Encode(in)
	return bytes.NewReader(encoded), "application/x-amz-json-1.1"
}

// Around is an upper bound of the bytes of a body beside its records, and of a record beside its payload and key.
const Around = 64

// Length returns the length of *s, or 0 for nil.
func Length(s *string) int {
	if s == nil {
		return 0
	}
	return len(*s)
}

// AppendMember appends a member of an object and a comma, or nothing if value is nil.
func AppendMember(b []byte, name string, value *string) []byte {
	if value == nil {
		return b
	}
	b = append(append(append(b, '"'), name...), `":`...)
	return append(appendText(b, *value), ',')
}

// appendText appends s as JSON.
func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			quoted, _ := json.Marshal(s) // a string has no error
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// AppendData appends the payload, the end of its record and a comma.
func AppendData(b, data []byte) []byte {
	b = append(b, `"Data":"`...)
	b = base64.StdEncoding.AppendEncode(b, data)
	return append(b, `"},`...)
}

// EndRecords removes the last comma and ends the list and the body.
func EndRecords(b []byte) []byte {
	return append(bytes.TrimSuffix(b, []byte(",")), "]}"...)
}
