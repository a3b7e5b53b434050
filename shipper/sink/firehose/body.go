package firehose

import (
	"encoding/base64"

	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/smithy-go"

	"github.com/standpipe/standpipe/shipper/sink/internal/awsclient"
)

// encode returns the body of a PutRecordBatch request.
func encode(in smithy.Serializable) (body []byte, empty smithy.Serializable) {
	put, ok := in.(*firehose.PutRecordBatchInput)
	if !ok {
		return nil, nil
	}
	return putRecordBatchBody(put), &firehose.PutRecordBatchInput{}
}

func putRecordBatchBody(in *firehose.PutRecordBatchInput) []byte {
	size := awsclient.Around + awsclient.Length(in.DeliveryStreamName)
	for i := range in.Records {
		size += awsclient.Around + base64.StdEncoding.EncodedLen(len(in.Records[i].Data))
	}
	b := append(make([]byte, 0, size), '{')
	b = awsclient.AppendMember(b, "DeliveryStreamName", in.DeliveryStreamName)
	b = append(b, `"Records":[`...)
	for i := range in.Records {
		b = awsclient.AppendData(append(b, '{'), in.Records[i].Data)
	}
	return awsclient.EndRecords(b)
}
