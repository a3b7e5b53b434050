package iam_test

import (
	"context"
	"crypto/md5"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent"
	"github.com/standpipe/standpipe/agent/doctor"
	"github.com/standpipe/standpipe/agent/iam"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/test/grpckit"
	"github.com/standpipe/standpipe/test/testkit"
)

// recorder is AWS as far as the sinks use it, and records the action of each request.
type recorder struct {
	mu      sync.Mutex
	actions map[string]bool
	refused bool // the first PutObject was answered with 412
	t       *testing.T
}

func (r *recorder) note(action string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.actions[action] = true
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	service, operation, ok := strings.Cut(req.Header.Get("X-Amz-Target"), ".")
	if !ok {
		r.s3(w, req)
		return
	}
	name := map[string]string{"Kinesis_20131202": "kinesis", "Firehose_20150804": "firehose", "AmazonSQS": "sqs"}[service]
	action := operation
	if operation == "SendMessageBatch" { // has no right of its own
		action = "SendMessage"
	}
	r.note(name + ":" + action)
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	var in struct {
		Records []any
		Entries []struct{ Id, MessageBody string }
	}
	_ = json.Unmarshal(body, &in) // other requests have neither
	switch operation {
	case "DescribeStreamSummary":
		io.WriteString(w, `{"StreamDescriptionSummary":{"StreamStatus":"ACTIVE","OpenShardCount":1}}`)
	case "ListShards":
		io.WriteString(w, `{"Shards":[{"ShardId":"shardId-000000000000","HashKeyRange":{"StartingHashKey":"0","EndingHashKey":"340282366920938463463374607431768211455"},"SequenceNumberRange":{"StartingSequenceNumber":"1"}}]}`)
	case "PutRecord":
		io.WriteString(w, `{"ShardId":"shardId-000000000000","SequenceNumber":"1"}`)
	case "PutRecords":
		fmt.Fprintf(w, `{"FailedRecordCount":0,"Records":[%s]}`, repeated(`{"ShardId":"shardId-000000000000","SequenceNumber":"1"}`, len(in.Records)))
	case "PutRecordBatch":
		fmt.Fprintf(w, `{"FailedPutCount":0,"RequestResponses":[%s]}`, repeated(`{"RecordId":"1"}`, len(in.Records)))
	case "DescribeDeliveryStream":
		io.WriteString(w, `{"DeliveryStreamDescription":{"DeliveryStreamStatus":"ACTIVE"}}`)
	case "GetQueueAttributes":
		io.WriteString(w, `{"Attributes":{"MaximumMessageSize":"262144"}}`)
	case "SendMessageBatch":
		var done []string
		for _, e := range in.Entries {
			done = append(done, fmt.Sprintf(`{"Id":%q,"MessageId":"1","MD5OfMessageBody":"%x"}`, e.Id, md5.Sum([]byte(e.MessageBody))))
		}
		fmt.Fprintf(w, `{"Successful":[%s]}`, strings.Join(done, ","))
	default:
		r.t.Errorf("unexpected request %s", operation)
	}
}

func repeated(s string, n int) string { return strings.TrimSuffix(strings.Repeat(s+",", n), ",") }

// s3 answers the first PutObject as if the object were there, so that the sink looks at it.
func (r *recorder) s3(w http.ResponseWriter, req *http.Request) {
	query := req.URL.Query()
	w.Header().Set("Content-Type", "application/xml")
	switch {
	case req.Method == http.MethodGet && query.Has("uploads"):
		r.note("s3:ListBucketMultipartUploads")
		io.WriteString(w, `<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>`)
	case req.Method == http.MethodPost && query.Has("uploads"):
		r.note("s3:PutObject")
		io.WriteString(w, `<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>`)
	case req.Method == http.MethodDelete && query.Has("uploadId"):
		r.note("s3:AbortMultipartUpload")
		w.WriteHeader(http.StatusNoContent)
	case req.Method == http.MethodHead:
		r.note("s3:GetObject")
		w.WriteHeader(http.StatusNotFound)
	case req.Method == http.MethodPut:
		r.note("s3:PutObject")
		if req.Header.Get("X-Amz-Tagging") != "" {
			r.note("s3:PutObjectTagging")
		}
		r.mu.Lock()
		first := !r.refused
		r.refused = true
		r.mu.Unlock()
		if first {
			w.WriteHeader(http.StatusPreconditionFailed)
			io.WriteString(w, `<Error><Code>PreconditionFailed</Code><Message>there</Message></Error>`)
		}
	default:
		r.t.Errorf("unexpected request %s %s", req.Method, req.URL)
	}
}

// unseen are actions of the policy that no request has, with their reason.
var unseen = map[string]string{
	"s3:ListBucket": "without it a missing object is AccessDenied, not NotFound",
}

// ofDoctor are actions of doctor alone.
var ofDoctor = map[string]bool{"firehose:DescribeDeliveryStream": true}

// The sinks send no request that the policy does not allow, and the policy allows none that they do not send.
func TestPolicy_IsThatOfTheRequests(t *testing.T) {
	r := &recorder{actions: make(map[string]bool), t: t}
	srv := httptest.NewServer(r)
	t.Cleanup(srv.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDFAKE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	dir := t.TempDir()
	conf := parse(t, strings.NewReplacer("DIR", dir, "URL", srv.URL).Replace(`
data_dir = "DIR/data"
listener "grpc" { address = "unix://DIR/grpc.sock" }
admin { address = "unix://DIR/admin.sock" }
aws {
  region   = "eu-west-1"
  endpoint = "URL"
}
stream "s" {
  format = "text"
  destination "kinesis" "live" { stream = "live" }
  destination "kinesis" "strict" {
    stream = "strict"
    order  = "strict"
  }
  destination "firehose" "archive" { delivery_stream = "archive" }
  destination "sqs" "jobs" { queue_url = "URL/123456789012/jobs" }
  destination "s3" "lake" {
    bucket        = "events"
    path_style    = true
    roll_interval = "10ms"
    tags          = { team = "web" }
    retry {
      max = "50ms"
    }
  }
}`))
	a, err := agent.New(t.Context(), conf, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		a.Abort()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	client := standpipev1.NewIngestClient(grpckit.Dial(t, "unix://"+dir+"/grpc.sock"))
	for range 3 {
		request := &standpipev1.AppendRequest{Stream: "s", Events: []*standpipev1.Event{{PartitionKey: "k", Data: []byte("x")}}}
		if _, err := client.Append(t.Context(), request); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Eventually(t, 30*time.Second, func() error {
		for _, s := range a.Status().Streams {
			for _, d := range s.Destinations {
				if d.Pending.Events > 0 {
					return fmt.Errorf("%s has %d pending events: %s", d.Name, d.Pending.Events, d.LastError)
				}
			}
		}
		return nil
	})
	doctor.Run(t.Context(), conf, doctor.Options{Timeout: 30 * time.Second})

	allowed := make(map[string]bool)
	for _, s := range iam.Policy(conf, iam.Options{}).Statement {
		for _, action := range s.Action {
			allowed[action] = true
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, action := range slices.Sorted(maps.Keys(r.actions)) {
		if !allowed[action] && !ofDoctor[action] {
			t.Errorf("the policy does not allow %s, which a sink requests", action)
		}
	}
	for _, action := range slices.Sorted(maps.Keys(allowed)) {
		if !r.actions[action] && unseen[action] == "" {
			t.Errorf("the policy allows %s, which no sink requests", action)
		}
	}
}
