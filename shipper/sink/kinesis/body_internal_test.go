package kinesis

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// sentBody is a body as the service decodes it.
type sentBody struct {
	StreamName, StreamARN *string
	Records               []sentRecord
}

type sentRecord struct {
	PartitionKey, ExplicitHashKey *string
	Data                          []byte
}

func FuzzBody_HoldsTheRequest(f *testing.F) {
	f.Add("clicks", "key", "0", []byte("payload"), 3)
	f.Add("", "quote \" slash \\ tab \t del \x7f Ä \u2028", "", []byte{}, 1)
	f.Add("s", strings.Repeat("€", 256), "340282366920938463463374607431768211455", []byte{0, 255}, 0)
	f.Fuzz(func(t *testing.T, stream, key, hash string, data []byte, records int) {
		stream, key, hash = strings.ToValidUTF8(stream, ""), strings.ToValidUTF8(key, ""), strings.ToValidUTF8(hash, "")
		records = min(max(records, 0), 500)
		in := &kinesis.PutRecordsInput{StreamName: &stream}
		want := sentBody{StreamName: &stream, Records: []sentRecord{}}
		for i := range records {
			entry, sent := types.PutRecordsRequestEntry{PartitionKey: &key, Data: data}, sentRecord{PartitionKey: &key, Data: data}
			if i%2 == 1 {
				entry.ExplicitHashKey, sent.ExplicitHashKey = &hash, &hash
			}
			in.Records = append(in.Records, entry)
			want.Records = append(want.Records, sent)
		}
		checkBody(t, putRecordsBody(in), want)
	})
}

func checkBody(t *testing.T, body []byte, want sentBody) {
	t.Helper()
	var got sentBody
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatalf("decode body: %v", err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got body %+v, want %+v", got, want)
	}
}

func TestBody_IsMadeInOnePiece(t *testing.T) {
	key, stream, data := "key", "stream", make([]byte, 1000)
	in := &kinesis.PutRecordsInput{StreamName: &stream}
	for range 500 {
		in.Records = append(in.Records, types.PutRecordsRequestEntry{PartitionKey: &key, Data: data})
	}
	got := testing.AllocsPerRun(10, func() { putRecordsBody(in) })
	if want := 1.0; got != want {
		t.Errorf("got %v allocations for a body, want %v", got, want)
	}
}
