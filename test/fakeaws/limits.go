package fakeaws

import (
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// request is PutRecords' and PutRecordBatch's in one.
type request struct {
	StreamName         string
	StreamARN          string
	DeliveryStreamName string
	Records            []struct {
		Data         []byte
		PartitionKey string
	}
}

func (r *request) stream() string { return r.StreamName + r.StreamARN + r.DeliveryStreamName }

// service has the differences between the two.
type service struct {
	maxRecord, maxBatch int // bytes
	keys                bool
	reply               func(results []map[string]string, failed int) []byte
	stored              func(i int) map[string]string
}

const maxRecords = 500

var services = map[string]service{
	"Kinesis_20131202.PutRecords": {
		maxRecord: 1 << 20,
		maxBatch:  10 << 20,
		keys:      true,
		reply: func(results []map[string]string, failed int) []byte {
			return encode(map[string]any{"FailedRecordCount": failed, "Records": results})
		},
		stored: func(i int) map[string]string {
			return map[string]string{"SequenceNumber": strconv.Itoa(i + 1), "ShardId": "shardId-000000000000"}
		},
	},
	"Firehose_20150804.PutRecordBatch": {
		maxRecord: 1000 << 10,
		maxBatch:  4 << 20,
		reply: func(results []map[string]string, failed int) []byte {
			return encode(map[string]any{"FailedPutCount": failed, "RequestResponses": results})
		},
		stored: func(i int) map[string]string {
			return map[string]string{"RecordId": strconv.Itoa(i + 1)}
		},
	},
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // maps of strings and numbers
	}
	return b
}

// check holds req to the service's limits, in the services' words.
func (svc *service) check(req *request) *apiError {
	if n := len(req.Records); n < 1 || n > maxRecords {
		return invalid("'records' failed to satisfy constraint: Member must have length less than or equal to %d", maxRecords)
	}
	total := 0
	for i, r := range req.Records {
		size := len(r.Data) + len(r.PartitionKey)
		total += size
		chars := utf8.RuneCountInString(r.PartitionKey)
		switch {
		case svc.keys && (chars < 1 || chars > 256):
			return invalid("'records.%d.member.partitionKey' failed to satisfy constraint: Member must have length less than or equal to 256", i+1)
		case size > svc.maxRecord:
			return invalid("'records.%d.member.data' failed to satisfy constraint: Member must have length less than or equal to %d", i+1, svc.maxRecord)
		}
	}
	if total > svc.maxBatch {
		return &apiError{status: 400, code: "InvalidArgumentException",
			text: fmt.Sprintf("Records size exceeds %d bytes", svc.maxBatch)}
	}
	return nil
}

func invalid(format string, args ...any) *apiError {
	return &apiError{status: 400, code: "ValidationException",
		text: "1 validation error detected: Value at " + fmt.Sprintf(format, args...)}
}
