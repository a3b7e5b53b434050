package kinesis

import (
	"encoding/base64"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/smithy-go"

	"github.com/standpipe/standpipe/shipper/sink/internal/awsclient"
)

// encode returns the body of a PutRecords request.
func encode(in smithy.Serializable) (body []byte, empty smithy.Serializable) {
	put, ok := in.(*kinesis.PutRecordsInput)
	if !ok {
		return nil, nil
	}
	return putRecordsBody(put), &kinesis.PutRecordsInput{}
}

func putRecordsBody(in *kinesis.PutRecordsInput) []byte {
	size := awsclient.Around + awsclient.Length(in.StreamName) + awsclient.Length(in.StreamARN)
	for i := range in.Records {
		r := &in.Records[i]
		size += awsclient.Around + base64.StdEncoding.EncodedLen(len(r.Data)) + awsclient.Length(r.PartitionKey)
	}
	b := append(make([]byte, 0, size), '{')
	b = awsclient.AppendMember(b, "StreamName", in.StreamName)
	b = awsclient.AppendMember(b, "StreamARN", in.StreamARN)
	b = append(b, `"Records":[`...)
	for i := range in.Records {
		r := &in.Records[i]
		b = append(b, '{')
		b = awsclient.AppendMember(b, "PartitionKey", r.PartitionKey)
		b = awsclient.AppendMember(b, "ExplicitHashKey", r.ExplicitHashKey)
		b = awsclient.AppendData(b, r.Data)
	}
	return awsclient.EndRecords(b)
}
