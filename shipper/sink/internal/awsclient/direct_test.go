package awsclient_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awskinesis "github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/schemas"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink"
	"github.com/standpipe/standpipe/shipper/sink/internal/awsclient"
	"github.com/standpipe/standpipe/shipper/sink/internal/failure"
	"github.com/standpipe/standpipe/shipper/sink/kinesis"
	"github.com/standpipe/standpipe/shipper/sink/sinktest"
	"github.com/standpipe/standpipe/test/fakeaws"
)

// inFormats opens a sink for each service and format of requests.
var inFormats = append([]opener{
	{"kinesis in CBOR", func(t *testing.T, o sink.AWS) (shipper.Sink, error) {
		return kinesis.New(t.Context(), kinesis.Options{Stream: "clicks", AWS: o, CBOR: true})
	}},
}, openers...)

// received is a request as it arrived.
type received struct {
	*http.Request
	body []byte
}

// direct reports whether the request came without the SDK's middleware.
func (r received) direct() bool { return r.Header.Get("Amz-Sdk-Invocation-Id") == "" }

// recorder is a server in front of another one that keeps the requests.
type recorder struct {
	*httptest.Server
	mu  sync.Mutex
	all []received // guarded by mu
}

func record(t *testing.T, before http.Handler) *recorder {
	rec := &recorder{}
	rec.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("read body: %v", err)
		}
		rec.mu.Lock()
		rec.all = append(rec.all, received{r.Clone(r.Context()), body})
		rec.mu.Unlock()
		r.Body = io.NopCloser(bytes.NewReader(body))
		before.ServeHTTP(w, r)
	}))
	t.Cleanup(rec.Close)
	return rec
}

func (rec *recorder) requests() []received {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return slices.Clone(rec.all)
}

// to returns a sink to the recorder, with the options of srv.
func (rec *recorder) to(t *testing.T, open opener, srv *fakeaws.Server) shipper.Sink {
	o := srv.Options()
	o.Endpoint = rec.URL
	return open.must(t, o)
}

// A direct request has the headers of the SDK's, and a valid signature of its own.
func TestDirect_RepeatsTheSDKsRequest(t *testing.T) {
	for _, to := range inFormats {
		t.Run(to.name, func(t *testing.T) {
			srv := fakeaws.Start(t)
			rec := record(t, srv)
			s := rec.to(t, to, srv)
			for range 3 {
				mustPut(t, s)
			}
			all := rec.requests()
			if len(all) != 3 || all[0].direct() || !all[1].direct() || !all[2].direct() {
				t.Fatalf("got %d requests, want one of the SDK and two direct ones", len(all))
			}
			for _, r := range all {
				if got, want := common(r), common(all[0]); !maps.Equal(got, want) {
					t.Errorf("got headers %v, want %v", got, want)
				}
				verify(t, r, srv.Options().Credentials)
			}
		})
	}
}

// common returns the headers that requests have in common, and the length of the body.
func common(r received) map[string]string {
	all := map[string]string{"Host": r.Host, "path": r.URL.String(), "length": fmt.Sprint(r.ContentLength)}
	for name := range r.Header {
		switch name {
		case "Authorization", "X-Amz-Date", "Amz-Sdk-Invocation-Id", "Amz-Sdk-Request":
		default:
			all[name] = r.Header.Get(name)
		}
	}
	return all
}

// verify makes the signature of a request that arrived once more, and compares.
func verify(t *testing.T, r received, provider aws.CredentialsProvider) {
	t.Helper()
	credentials, err := provider.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil {
		t.Fatal(err)
	}
	signature := r.Header.Get("Authorization")
	_, signed, _ := strings.Cut(signature, "SignedHeaders=")
	signed, _, _ = strings.Cut(signed, ",")
	again, err := http.NewRequest(r.Method, "http://"+r.Host+r.URL.String(), bytes.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.SplitSeq(signed, ";") {
		if value := r.Header.Get(name); value != "" && name != "content-length" {
			again.Header.Set(name, value)
		}
	}
	hash := sha256.Sum256(r.body)
	service := "kinesis"
	if strings.HasPrefix(r.Header.Get("X-Amz-Target"), "Firehose") {
		service = "firehose"
	}
	if err := v4.NewSigner().SignHTTP(t.Context(), credentials, again, hex.EncodeToString(hash[:]), service, "eu-west-1", at); err != nil {
		t.Fatal(err)
	}
	if want := again.Header.Get("Authorization"); signature != want {
		t.Errorf("got signature %s, want %s", signature, want)
	}
}

// An error of a direct request means the same as one of the SDK's, and no request is sent a second time for it.
func TestDirect_FailsLikeTheSDK(t *testing.T) {
	for _, to := range inFormats {
		t.Run(to.name, func(t *testing.T) {
			noCredentials(t)
			t.Setenv("AWS_ACCESS_KEY_ID", "AKIDFAKE")
			t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
			var servers [2]*fakeaws.Server // each has seen the same faults: an endpoint's format of requests depends on them
			var recs [2]*recorder
			for way := range servers {
				servers[way] = fakeaws.Start(t)
				recs[way] = record(t, servers[way])
			}
			for i, fault := range []fakeaws.Fault{
				fakeaws.FailRecords("ProvisionedThroughputExceededException", "Rate exceeded", 0),
				fakeaws.FailRecords("InternalFailure", "internal", 1),
				fakeaws.Throttle(),
				fakeaws.Refuse(400, "ResourceNotFoundException", "Stream clicks not found."),
				fakeaws.Refuse(400, "ValidationException", "1 validation error detected"),
				fakeaws.Refuse(400, "ExpiredTokenException", "expired"),
				fakeaws.Refuse(403, "AccessDeniedException", "not authorized"),
				fakeaws.Refuse(413, "", ""),
				fakeaws.Refuse(500, "InternalFailure", "internal"),
				fakeaws.RefuseAndWait(503, "ServiceUnavailable", "Slow down.", 7),
				fakeaws.CutBefore(), fakeaws.CutWithin(), fakeaws.Blank(),
				fakeaws.MoreResults(1), fakeaws.MoreResults(-1), fakeaws.Unnamed(), fakeaws.Miscount(1),
				fakeaws.Garbage(), // no CBOR after it
			} {
				var got [2]shipper.Response
				for way, rec := range recs {
					o := servers[way].Options()
					o.Endpoint, o.Credentials = rec.URL, nil
					s := to.must(t, o)
					if way == 1 {
						mustPut(t, s)
					}
					before := len(rec.requests())
					servers[way].FailNext(fault)
					got[way] = outcome(s.Send(t.Context(), sinktest.Records(2)))
					sent := rec.requests()[before:]
					if sent[0].direct() != (way == 1) || len(sent) > 1 && sent[1].Header.Get("Content-Type") == sent[0].Header.Get("Content-Type") {
						t.Errorf("fault %d: got %d requests, want one in each format at most", i, len(sent))
					}
					if way == 1 && got[way].Code != "200" {
						before = len(rec.requests())
						mustPut(t, s)
						if rec.requests()[before].direct() {
							t.Errorf("fault %d: the request after it is a direct one, want one of the SDK", i)
						}
					}
				}
				if !reflect.DeepEqual(got[0], got[1]) {
					t.Errorf("fault %d: got %s direct, want that of the SDK: %s", i, show(got[1]), show(got[0]))
				}
			}
		})
	}
}

// ends is a context that ends with an error.
type ends struct {
	context.Context
	with error
}

func (c ends) Err() error {
	if c.Context.Err() != nil {
		return c.with
	}
	return nil
}

// A request whose context ends while the service is silent ends in the same way, but for the words: its timeout is one of a request that
// was sent.
func TestDirect_EndsLikeTheSDK(t *testing.T) {
	for _, to := range inFormats {
		for _, with := range []error{context.Canceled, context.DeadlineExceeded} {
			t.Run(to.name+"/"+with.Error(), func(t *testing.T) {
				var got [2]shipper.Response
				for way := range got {
					srv := fakeaws.Start(t)
					rec := record(t, srv)
					s := rec.to(t, to, srv)
					if way == 1 {
						mustPut(t, s)
					}
					before := len(rec.requests())
					ctx, cancel := context.WithCancelCause(t.Context())
					srv.FailNext(fakeaws.Hang(func() { cancel(with) }))
					got[way] = outcome(s.Send(ends{ctx, with}, sinktest.Records(2)))
					got[way].Err.Text = ""
					if sent := rec.requests()[before:]; len(sent) != 1 || sent[0].direct() != (way == 1) {
						t.Errorf("got %d requests, want one", len(sent))
					}
				}
				if !reflect.DeepEqual(got[0], got[1]) {
					t.Errorf("got %s direct, want that of the SDK: %s", show(got[1]), show(got[0]))
				}
				if with == context.DeadlineExceeded && got[1].Err.Code != failure.CodeTimeout {
					t.Errorf("got code %s, want %s", got[1].Err.Code, failure.CodeTimeout)
				}
			})
		}
	}
}

// doer is an HTTP client.
type doer func(*http.Request) (*http.Response, error)

func (d doer) Do(r *http.Request) (*http.Response, error) { return d(r) }

// A response that arrives as the time of its request ends counts: the service is throttling, which is no timeout.
func TestDirect_ResponseCountsAfterTheTime(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var sent []*http.Request
	client := doer(func(r *http.Request) (*http.Response, error) {
		sent = append(sent, r)
		status, body := 200, `{"FailedRecordCount":0,"Records":[{"SequenceNumber":"1","ShardId":"shardId-0"}]}`
		if len(sent) == 2 {
			status, body = 400, `{"__type":"LimitExceededException","message":"slow down"}`
			cancel()
		}
		header := http.Header{"Content-Type": {"application/x-amz-json-1.1"}}
		return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body))}, nil
	})
	var json awsclient.WholeBody
	sdk := awskinesis.New(awskinesis.Options{
		Region: "eu-west-1", BaseEndpoint: aws.String("http://kinesis.example"), HTTPClient: client,
		Credentials: credentials.NewStaticCredentialsProvider("AKIDFAKE", "secret", ""), Retryer: aws.NopRetryer{},
	}, func(o *awskinesis.Options) {
		json = awsclient.WholeBody{ClientProtocol: o.Protocol, Encode: func(smithy.Serializable) ([]byte, smithy.Serializable) {
			return []byte("{}"), &awskinesis.PutRecordsInput{}
		}}
		o.Protocol = json
	})
	direct := awsclient.NewDirect(client, sdk.Options().Credentials)
	op := smithy.NewOperationSchema(schemas.PutRecords, schemas.PutRecordsInput, schemas.PutRecordsOutput)
	var err error
	for range 2 {
		in := &awskinesis.PutRecordsInput{StreamName: aws.String("clicks"), Records: []types.PutRecordsRequestEntry{}}
		ctx, way := direct.Send(ctx, json, op, in, awskinesis.TypeRegistry, new(awskinesis.PutRecordsOutput))
		if way == nil {
			t.Fatal("a request was sent directly with success, want one of the SDK and a failure")
		}
		_, err = sdk.PutRecords(ctx, in, func(o *awskinesis.Options) {
			o.Protocol, o.HTTPClient, o.Credentials = way.Protocol, way.Client, way.Credentials
		})
	}
	var limit *types.LimitExceededException
	if len(sent) != 2 || !(received{Request: sent[1]}).direct() || !errors.As(err, &limit) {
		t.Errorf("got %d requests and the error %v, want a direct one with LimitExceededException", len(sent), err)
	}
}

// outcome returns a response without its measurements and the texts that name a connection.
func outcome(r shipper.Response) shipper.Response {
	r.Sent, r.Acked, r.Moving = 0, 0, 0
	if r.Err != nil && r.Err.Code == failure.CodeConnection {
		r.Err.Text = ""
	}
	return r
}

func show(r shipper.Response) string {
	text := fmt.Sprintf("code %s, error %+v, results", r.Code, r.Err)
	for _, result := range r.Results {
		text += fmt.Sprintf(" %+v", result)
	}
	return text
}

// The clock of the host is set while direct requests go out. One request fails, as with the SDK, and the next ones are direct again.
func TestDirect_ClockIsCorrected(t *testing.T) {
	for _, to := range inFormats {
		t.Run(to.name, func(t *testing.T) {
			srv := fakeaws.Start(t)
			door := startDoorman(t, srv)
			door.expect("", "RequestTimeTooSkewed")
			rec := record(t, door.Config.Handler)
			s := rec.to(t, to, srv)
			mustPut(t, s)
			mustPut(t, s)
			for _, clock := range []time.Duration{time.Hour, -time.Hour} {
				door.clock.Store(int64(clock))
				mustFail(t, s, shipper.Transient, "RequestTimeTooSkewed")
				mustPut(t, s)
				mustPut(t, s)
				all := rec.requests()
				if last := all[len(all)-1]; !last.direct() {
					t.Errorf("clock off by %s: the last request is one of the SDK, want a direct one", clock)
				}
			}
			door.clock.Add(int64(3 * time.Minute)) // not yet rejected
			for range 5 {
				mustPut(t, s)
			}
			all := rec.requests()
			last := all[len(all)-1]
			at, err := time.Parse("20060102T150405Z", last.Header.Get("X-Amz-Date"))
			if err != nil {
				t.Fatal(err)
			}
			if off := time.Since(at) + time.Duration(door.clock.Load()); off.Abs() > 2*time.Minute || !last.direct() {
				t.Errorf("the last request is off by %s, direct %t; want a direct one with the service's clock", off, last.direct())
			}
		})
	}
}

// A request is rejected late, when the credentials that it had were replaced already. The new ones are kept: they may be valid.
func TestDirect_LateRejectionKeepsNewCredentials(t *testing.T) {
	for _, to := range inFormats {
		t.Run(to.name, func(t *testing.T) {
			noCredentials(t)
			var mu sync.Mutex
			given, fetched := "token-0", 0
			source := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				fetched++
				io.WriteString(w, hourOf(given))
			}))
			t.Cleanup(source.Close)
			t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", source.URL)
			srv := fakeaws.Start(t)
			door := startDoorman(t, srv)
			door.expect("token-0", "ExpiredTokenException")
			held := make(chan chan struct{}, 1) // holds one if the next request is to wait until it is closed
			arrived := make(chan struct{})
			rec := record(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				select {
				case until := <-held:
					close(arrived)
					<-until
				default:
				}
				door.Config.Handler.ServeHTTP(w, r)
			}))
			o := srv.Options()
			o.Endpoint, o.Credentials = rec.URL, nil
			s := to.must(t, o)
			mustPut(t, s)

			until, rejected := make(chan struct{}), make(chan *shipper.Error, 1)
			release := sync.OnceFunc(func() { close(until) })
			t.Cleanup(release)
			held <- until
			go func() { rejected <- s.Send(t.Context(), sinktest.Records(1)).Err }()
			<-arrived
			mu.Lock()
			given, fetched = "token-1", 0
			mu.Unlock()
			door.expect("token-1", "ExpiredTokenException")
			mustFail(t, s, shipper.Transient, "ExpiredTokenException")
			mustPut(t, s)
			release()
			if err := <-rejected; err == nil || err.Code != "ExpiredTokenException" {
				t.Errorf("got %+v, want ExpiredTokenException", err)
			}
			mustPut(t, s)
			mu.Lock()
			defer mu.Unlock()
			if fetched != 1 {
				t.Errorf("credentials were fetched %d times, want once", fetched)
			}
		})
	}
}
