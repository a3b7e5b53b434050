package sink

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// wholeBody writes the bodies of PutRecords and PutRecordBatch, the SDK's protocol all others.
//
// The SDK (smithy-go v1.28.8) grows its buffer as it goes, and encodes each payload into a buffer of
// its own first: for a body of 5 MiB some 20 MiB are made and copied. The length is known, so one
// buffer of it will do (BenchmarkDrain, MB a second and core: Firehose 159 to 205, KPL 110 to 151, and a third less memory).
// It is not used again: net/http may still read a body whose reply is there.
type wholeBody struct{ smithyhttp.ClientProtocol }

// SerializeRequest lets the SDK's protocol make all of the request but its records.
func (p wholeBody) SerializeRequest(ctx context.Context, op *smithy.OperationSchema, in smithy.Serializable, req *smithyhttp.Request) error {
	var body []byte
	var empty smithy.Serializable
	switch in := in.(type) {
	case *kinesis.PutRecordsInput:
		body, empty = putRecordsBody(in), &kinesis.PutRecordsInput{}
	case *firehose.PutRecordBatchInput:
		body, empty = putRecordBatchBody(in), &firehose.PutRecordBatchInput{}
	default:
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

// around is more than what stands in a body beside the records, and in one beside its payload and key.
const around = 64

func putRecordsBody(in *kinesis.PutRecordsInput) []byte {
	size := around + lengthOf(in.StreamName) + lengthOf(in.StreamARN)
	for i := range in.Records {
		r := &in.Records[i]
		size += around + base64.StdEncoding.EncodedLen(len(r.Data)) + lengthOf(r.PartitionKey)
	}
	b := append(make([]byte, 0, size), '{')
	b = appendMember(b, "StreamName", in.StreamName)
	b = appendMember(b, "StreamARN", in.StreamARN)
	b = append(b, `"Records":[`...)
	for i := range in.Records {
		r := &in.Records[i]
		b = append(b, '{')
		b = appendMember(b, "PartitionKey", r.PartitionKey)
		b = appendMember(b, "ExplicitHashKey", r.ExplicitHashKey)
		b = appendData(b, r.Data)
	}
	return endRecords(b)
}

func putRecordBatchBody(in *firehose.PutRecordBatchInput) []byte {
	size := around + lengthOf(in.DeliveryStreamName)
	for i := range in.Records {
		size += around + base64.StdEncoding.EncodedLen(len(in.Records[i].Data))
	}
	b := append(make([]byte, 0, size), '{')
	b = appendMember(b, "DeliveryStreamName", in.DeliveryStreamName)
	b = append(b, `"Records":[`...)
	for i := range in.Records {
		b = appendData(append(b, '{'), in.Records[i].Data)
	}
	return endRecords(b)
}

func lengthOf(s *string) int {
	if s == nil {
		return 0
	}
	return len(*s)
}

// appendMember appends a member of an object, with the comma behind it; nothing for nil.
func appendMember(b []byte, name string, value *string) []byte {
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

// appendData appends the payload and ends its record, with the comma behind it.
func appendData(b, data []byte) []byte {
	b = append(b, `"Data":"`...)
	b = base64.StdEncoding.AppendEncode(b, data)
	return append(b, `"},`...)
}

// endRecords ends the list and the body.
func endRecords(b []byte) []byte {
	return append(bytes.TrimSuffix(b, []byte(",")), "]}"...)
}
