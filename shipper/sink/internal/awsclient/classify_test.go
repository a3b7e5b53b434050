package awsclient_test

import (
	"cmp"
	"context"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	sdkfirehose "github.com/aws/aws-sdk-go-v2/service/firehose"
	sdkkinesis "github.com/aws/aws-sdk-go-v2/service/kinesis"
	sdksqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink"
	"github.com/standpipe/standpipe/shipper/sink/internal/awsclient"
	"github.com/standpipe/standpipe/shipper/sink/kinesis"
	"github.com/standpipe/standpipe/shipper/sink/sinktest"
	"github.com/standpipe/standpipe/test/fakeaws"
)

func TestClass_OfEveryDocumentedCode(t *testing.T) {
	cases := []struct {
		status int
		code   string
		want   shipper.Class
	}{
		// PutRecords
		{400, "AccessDeniedException", shipper.Operator},
		{500, "InternalFailureException", shipper.Transient},
		{400, "InvalidArgumentException", shipper.Poison},
		{400, "KMSAccessDeniedException", shipper.Operator},
		{400, "KMSDisabledException", shipper.Operator},
		{400, "KMSInvalidStateException", shipper.Operator},
		{400, "KMSNotFoundException", shipper.Operator},
		{400, "KMSOptInRequired", shipper.Operator},
		{400, "KMSThrottlingException", shipper.Throttled},
		{400, "LimitExceededException", shipper.Throttled},
		{400, "ProvisionedThroughputExceededException", shipper.Throttled},
		{400, "ResourceInUseException", shipper.Transient},
		{400, "ResourceNotFoundException", shipper.Operator},
		{400, "ValidationException", shipper.Poison},
		// PutRecordBatch
		{400, "InvalidKMSResourceException", shipper.Operator},
		{400, "InvalidSourceException", shipper.Operator},
		{400, "ConcurrentModificationException", shipper.Transient},
		{500, "ServiceUnavailableException", shipper.Throttled},
		// common errors
		{400, "ExpiredTokenException", shipper.Transient},
		{403, "ExpiredTokenException", shipper.Transient},
		{400, "IncompleteSignature", shipper.Operator},
		{500, "InternalFailure", shipper.Transient},
		{403, "InvalidClientTokenId", shipper.Operator},
		{403, "MissingAuthenticationTokenException", shipper.Operator},
		{400, "NotAuthorized", shipper.Operator},
		{403, "OptInRequired", shipper.Operator},
		{400, "RequestExpired", shipper.Transient},
		{413, "RequestEntityTooLargeException", shipper.Poison},
		{400, "SerializationException", shipper.Poison},
		{503, "ServiceUnavailable", shipper.Throttled},
		{400, "ThrottlingException", shipper.Throttled},
		{400, "UnrecognizedClientException", shipper.Operator},
		// unknown ones
		{400, "SomethingNewException", shipper.Operator},
		{404, "SomethingNewException", shipper.Operator},
		{408, "SomethingNewException", shipper.Transient},
		{413, "SomethingNewException", shipper.Poison},
		{429, "SomethingNewException", shipper.Throttled},
		{500, "SomethingNewException", shipper.Transient},
		{502, "SomethingNewException", shipper.Transient},
		{503, "SomethingNewException", shipper.Throttled},
		{302, "SomethingNewException", shipper.Operator},
	}
	remedied := map[string]bool{ // an operator must act if it lasts
		"RequestExpired": true, "RequestInTheFuture": true, "RequestTimeTooSkewed": true, "ExpiredToken": true, "ExpiredTokenException": true,
	}
	srv := fakeaws.Start(t)
	k := openKinesis(t, srv)
	for _, c := range cases {
		srv.FailNext(fakeaws.Refuse(c.status, c.code, "no"))
		got := k.Send(t.Context(), sinktest.Records(1))
		want := shipper.Error{Class: c.want, Code: c.code, Text: "no", Record: -1}
		if got.Err != nil && remedied[c.code] {
			want.Remedy = cmp.Or(got.Err.Remedy, "any")
		}
		if got.Err == nil || *got.Err != want {
			t.Errorf("%d %s: got %+v, want %+v", c.status, c.code, got.Err, want)
		}
		if srv.Stored() != 0 || got.Results != nil {
			t.Errorf("%d %s: %d stored, results %v", c.status, c.code, srv.Stored(), got.Results)
		}
	}
}

// Every error type in the SDK's packages of the services has a class. The test fails for the new types of a new
// SDK.
func TestClass_OfEveryErrorOfTheSDK(t *testing.T) {
	elsewhere := map[string]bool{ // errors of requests that standpipe doesn't make
		"DryRunOperationException": true, "ExpiredIteratorException": true, "ExpiredNextTokenException": true,
		"InvalidAttributeName": true, "InvalidAttributeValue": true, "InvalidBatchEntryId": true, "QueueNameExists": true, "EmptyBatchRequest": true,
		"InvalidIdFormat": true, "MessageNotInflight": true, "PurgeQueueInProgress": true, "ReceiptHandleIsInvalid": true,
		"BatchEntryIdsNotDistinct": true, "TooManyEntriesInBatchRequest": true,
	}
	found := 0
	for _, registry := range []*smithy.TypeRegistry{sdkkinesis.TypeRegistry, sdkfirehose.TypeRegistry, sdksqs.TypeRegistry} {
		for _, entry := range registry.Entries {
			err, ok := entry.New().(smithy.APIError)
			if !ok {
				continue
			}
			found++
			if code := err.ErrorCode(); awsclient.Known(code) == elsewhere[code] {
				t.Errorf("%s: got a class: %v, want %v", code, awsclient.Known(code), !elsewhere[code])
			}
		}
	}
	if found < 25 {
		t.Errorf("got %d errors of the SDK, want 25 or more", found)
	}
}

func TestClass_ByText(t *testing.T) {
	// Only the batch's third record is longer than 100 bytes.
	const tooLong = " failed to satisfy constraint: Member must have length less than or equal to 100"
	cases := []struct {
		code, text string
		want       shipper.Class
		record     int
	}{
		{"ValidationException", "1 validation error detected: Value at 'records.3.member.data'" + tooLong, shipper.Poison, 2},
		{"ValidationException", "1 validation error detected: Value 'java.nio.HeapByteBuffer[pos=0 lim=101 cap=101]' at 'records.3.member.data'" + tooLong, shipper.Poison, 2},
		{"ValidationException", "2 validation errors detected: Value at 'records.3.member.data'" + tooLong + "; Value at 'records.4.member.data'" + tooLong, shipper.Poison, 2},
		{"ValidationException", "Value at 'records.2.member.data'" + tooLong, shipper.Poison, -1}, // record 2 is not too long
		{"ValidationException", "Value at 'records.3.member.partitionKey' failed", shipper.Poison, -1},
		{"ValidationException", "Value at 'records.3.member.x' failed; Value at 'records.2.member.data'" + tooLong, shipper.Poison, -1},
		{"ValidationException", "Value at 'records.0.member.data'" + tooLong, shipper.Poison, -1},
		{"ValidationException", "Value at 'records.5.member.data'" + tooLong, shipper.Poison, -1},
		{"ValidationException", "Value at 'records.99999999999999999999.member.data'" + tooLong, shipper.Poison, -1},
		{"ValidationException", "1 validation error detected: Value 'a b' at 'streamName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+", shipper.Operator, -1},
		{"ValidationException", "Value 'a b' at 'deliveryStreamName' failed to satisfy constraint", shipper.Operator, -1},
		{"InvalidArgumentException", "This operation is not permitted on KinesisStreamAsSource delivery stream type.", shipper.Operator, -1},
		{"InvalidArgumentException", "", shipper.Poison, -1},
		{"InvalidSignatureException", "Signature expired: 20261121T084500Z is now earlier than 20261121T084900Z", shipper.Transient, -1},
		{"InvalidSignatureException", "Signature not yet current", shipper.Transient, -1},
		{"InvalidSignatureException", "The request signature we calculated does not match", shipper.Operator, -1},
	}
	srv := fakeaws.Start(t)
	f := openFirehose(t, srv)
	batch := sinktest.Records(4)
	batch[2].Data = []byte(strings.Repeat("x", 100) + "\n")
	for _, c := range cases {
		srv.FailNext(fakeaws.Refuse(400, c.code, c.text))
		got := f.Send(t.Context(), batch).Err
		if got == nil || got.Class != c.want || got.Record != c.record {
			t.Errorf("%s %q: got %+v, want %v, record %d", c.code, c.text, got, c.want, c.record)
		}
	}
}

func TestClass_RecordThatIsTooLong(t *testing.T) {
	srv := fakeaws.Start(t)
	k := openKinesis(t, srv)
	batch := sinktest.Records(3)
	batch[1].Data = make([]byte, 1<<20-len(batch[1].Key)+1)
	got := k.Send(t.Context(), batch).Err
	if got == nil || got.Class != shipper.Poison || got.Record != 1 {
		t.Errorf("got %+v, want record 1 named", got)
	}
}

func TestClass_OfOneRecord(t *testing.T) {
	cases := []struct {
		code string
		want shipper.Class
	}{
		{"ProvisionedThroughputExceededException", shipper.Throttled},
		{"KMSThrottlingException", shipper.Throttled},
		{"ServiceUnavailableException", shipper.Throttled},
		{"InternalFailure", shipper.Transient},
		{"SomethingNew", shipper.Transient},
		{"AccessDeniedException", shipper.Operator},
		{"ValidationException", shipper.Poison},
	}
	srv := fakeaws.Start(t)
	k := openKinesis(t, srv)
	for _, c := range cases {
		srv.FailNext(fakeaws.FailRecords(c.code, "slow down", 0))
		got := k.Send(t.Context(), sinktest.Records(1))
		want := shipper.Error{Class: c.want, Code: c.code, Text: "slow down", Record: -1}
		if got.Err != nil || len(got.Results) != 1 || *got.Results[0] != want {
			t.Errorf("%s: got %+v %v, want %+v", c.code, got.Err, got.Results, want)
		}
	}
}

func TestRetryAfter_IsPassedOnUpToAnHour(t *testing.T) {
	srv := fakeaws.Start(t)
	k := openKinesis(t, srv)
	for seconds, want := range map[int64]time.Duration{7: 7 * time.Second, 86_400: time.Hour, 10_000_000_000: time.Hour, math.MaxInt64: time.Hour} {
		srv.FailNext(fakeaws.RefuseAndWait(503, "ServiceUnavailable", "busy", seconds))
		got := k.Send(t.Context(), sinktest.Records(1)).Err
		if got == nil || got.RetryAfter != want {
			t.Errorf("%d s: got %+v, want %s", seconds, got, want)
		}
	}
}

func TestText_LongIsCut(t *testing.T) {
	srv := fakeaws.Start(t)
	k := openKinesis(t, srv)
	srv.FailNext(fakeaws.Refuse(500, "InternalFailure", "first line\n"+strings.Repeat("é", 5000)))
	got := k.Send(t.Context(), sinktest.Records(1)).Err
	if got == nil || len(got.Text) > 310 || !strings.HasPrefix(got.Text, "first line é") || strings.Contains(got.Text, "?") {
		t.Errorf("got %q", got.Text)
	}
}

func TestClass_NobodyResponds(t *testing.T) {
	o := fakeaws.Start(t).Options()
	o.Endpoint = "http://127.0.0.1:1"
	check(t, send(t, o), shipper.Transient, "connection")
}

func TestClass_NoSuchHost(t *testing.T) {
	o := fakeaws.Start(t).Options()
	o.Endpoint = "http://standpipe.invalid"
	check(t, send(t, o), shipper.Transient, "connection")
}

func TestClass_NoEndpoint(t *testing.T) {
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_DEFAULT_REGION", "")
	t.Setenv("AWS_CONFIG_FILE", "/nonexistent")
	o := fakeaws.Start(t).Options()
	o.Endpoint, o.Region = "", ""
	check(t, send(t, o), shipper.Operator, "endpoint")
}

// A region that can be part of no host name passes by no retry.
func TestClass_ImpossibleRegion(t *testing.T) {
	o := fakeaws.Start(t).Options()
	o.Endpoint, o.Region = "", "eu west 1"
	check(t, send(t, o), shipper.Operator, "endpoint")
}

func TestCredentials_Missing(t *testing.T) {
	noCredentials(t)
	o := fakeaws.Start(t).Options()
	o.Credentials = nil
	check(t, send(t, o), shipper.Operator, "credentials")
}

func TestCredentials_RejectedRole(t *testing.T) {
	for _, c := range []struct {
		fault fakeaws.Fault
		want  shipper.Class
	}{
		{fakeaws.Refuse(403, "AccessDenied", "no"), shipper.Operator},
		{fakeaws.Refuse(400, "ValidationError", "bad ARN"), shipper.Operator},
		{fakeaws.CutBefore(), shipper.Transient},
	} {
		srv := fakeaws.Start(t)
		t.Setenv("AWS_ENDPOINT_URL_STS", srv.URL())
		o := srv.Options()
		o.RoleARN = "arn:aws:iam::123456789012:role/shipper"
		srv.FailNext(c.fault, c.fault, c.fault) // the SDK tries three times to get credentials
		check(t, send(t, o), c.want, "credentials")
	}
}

func TestClass_CanceledAndLate(t *testing.T) {
	srv := fakeaws.Start(t)
	o := srv.Options()
	srv.FailNext(fakeaws.Silent(), fakeaws.Silent())
	o.Timeout = 2 * time.Second // in which a busy machine connects
	check(t, send(t, o), shipper.Transient, "timeout")

	o.Timeout = 0
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	k, err := kinesis.New(t.Context(), kinesis.Options{Stream: "s", AWS: o})
	if err != nil {
		t.Fatal(err)
	}
	check(t, k.Send(ctx, sinktest.Records(1)), shipper.Transient, "canceled")
}

func check(t *testing.T, got shipper.Response, class shipper.Class, code string) {
	t.Helper()
	if got.Err == nil || got.Err.Class != class || got.Err.Code != code || got.Code != code || got.Err.Record != -1 {
		t.Errorf("got %+v (%s), want %v %s", got.Err, got.Code, class, code)
	}
}

func send(t *testing.T, o sink.AWS) shipper.Response {
	t.Helper()
	k, err := kinesis.New(t.Context(), kinesis.Options{Stream: "s", AWS: o})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	return k.Send(t.Context(), sinktest.Records(1))
}

// A proxy's response is not the service's. It makes no dead letters, and a batch that is too large for a proxy may be
// tried in smaller ones. A status of the class 5xx concerns all destinations.
func TestProxy_BuriesNothing(t *testing.T) {
	for _, body := range []string{"<html>413 Request Entity Too Large</html>", "", `{"message":"Request Too Long"}`, "{}"} {
		for _, status := range []int{400, 403, 404, 405, 413, 414, 431, 502, 503} {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				w.WriteHeader(status)
				io.WriteString(w, body)
			}))
			got := send(t, sink.AWS{Region: "eu-west-1", Endpoint: srv.URL, Credentials: credentials.NewStaticCredentialsProvider("A", "s", "")})
			srv.Close()
			if got.Err == nil || got.Err.Class == shipper.Poison || got.Err.TooLarge != (status == 413) || got.Err.Between != (status >= 500) {
				t.Errorf("%d %q: got %+v", status, body, got.Err)
			}
		}
	}
}

// Record contents that the service quotes are masked in the text that operators see.
func TestText_HidesPayloads(t *testing.T) {
	srv := fakeaws.Start(t)
	k := openKinesis(t, srv)
	for _, key := range []string{"secret-key", "it's a 'secret-key' at 'home", "secret-key\n2", strings.Repeat("secret-key", 20)} {
		srv.FailNext(fakeaws.Refuse(400, "ValidationException", "2 validation errors detected: Value '"+key+
			"' at 'records.1.member.partitionKey' failed to satisfy constraint: Member must have length less than or equal to 256; Value 'c2VjcmV0LWtleQ==' at 'records.1.member.data' failed"))
		got := k.Send(t.Context(), ofKey(key, "x"))
		if got.Err == nil || got.Err.Class != shipper.Poison || strings.Contains(got.Err.Text, "secret") || strings.Contains(got.Err.Text, "c2Vj") ||
			!strings.Contains(got.Err.Text, "records.1.member.partitionKey") {
			t.Errorf("key %q: got %+v", key, got.Err)
		}
	}
}

// A host that accepts no connection is no evidence of a slow link.
func TestClass_DialThatTimesOut(t *testing.T) {
	full, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	got := send(t, sink.AWS{Region: "eu-west-1", Endpoint: "https://" + full.Addr().String(), Timeout: 300 * time.Millisecond,
		Credentials: credentials.NewStaticCredentialsProvider("A", "s", "")}) // connections wait for a handshake for ever
	check(t, got, shipper.Transient, "connection")
}

// A record is sent again after HTTP 200 with an entry that has neither the ID of a stored record nor an error.
func TestResult_WithoutAnIDIsNotStored(t *testing.T) {
	for _, entry := range []string{`{}`, `{"ShardId":"shardId-000000000000"}`, `{"SequenceNumber":"","ErrorCode":""}`, `{"ErrorMessage":"busy"}`} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			io.WriteString(w, `{"FailedRecordCount":0,"Records":[`+entry+`]}`)
		}))
		got := send(t, sink.AWS{Region: "eu-west-1", Endpoint: srv.URL, Credentials: credentials.NewStaticCredentialsProvider("A", "s", "")})
		srv.Close()
		if got.Err != nil || len(got.Results) != 1 || got.Results[0] == nil || got.Results[0].Class != shipper.Transient {
			t.Errorf("%s: got %+v, want a failure that is tried again", entry, got)
		}
	}
}
