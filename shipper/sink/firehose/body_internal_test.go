package firehose

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
)

// sentBody is a body as the service decodes it.
type sentBody struct {
	DeliveryStreamName *string
	Records            []sentRecord
}

type sentRecord struct{ Data []byte }

func FuzzBody_HoldsTheRequest(f *testing.F) {
	f.Add("clicks", []byte("payload"), 3)
	f.Add("quote \" slash \\ tab \t del \x7f Ä \u2028", []byte{}, 1)
	f.Add("", []byte{0, 255}, 0)
	f.Fuzz(func(t *testing.T, stream string, data []byte, records int) {
		stream = strings.ToValidUTF8(stream, "")
		records = min(max(records, 0), 500)
		batch := &firehose.PutRecordBatchInput{DeliveryStreamName: &stream}
		want := sentBody{DeliveryStreamName: &stream, Records: []sentRecord{}}
		for range records {
			batch.Records = append(batch.Records, types.Record{Data: data})
			want.Records = append(want.Records, sentRecord{Data: data})
		}
		var got sentBody
		body := putRecordBatchBody(batch)
		if err := json.Unmarshal(body, &got); err != nil {
			t.Fatalf("decode body: %v", err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got body %+v, want %+v", got, want)
		}
	})
}
