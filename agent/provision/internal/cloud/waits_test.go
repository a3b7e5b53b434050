package cloud_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/agent/provision/internal/cloud"
	"github.com/standpipe/standpipe/agent/provision/internal/wanted"
	"github.com/standpipe/standpipe/test/draw"
)

// answer is that of AWS to one request. A status of 0 is 200.
type answer struct {
	status int
	body   string
}

// fault is the answer with an error of the JSON protocols.
func fault(code, message string) answer {
	return answer{http.StatusBadRequest, fmt.Sprintf(`{"__type":%q,"message":%q}`, code, message)}
}

// service is AWS in the time of a bubble, without a network. The function respond gets the operation, and the number of its requests
// before this one.
type service struct {
	mu      sync.Mutex
	counts  map[string]int // of requests by operation; guarded by mu
	respond func(operation string, before int) answer
}

func (s *service) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	operation := r.Header.Get("X-Amz-Target")
	operation = operation[strings.LastIndex(operation, ".")+1:]
	if operation == "" { // the query protocol
		_, rest, _ := strings.Cut(string(body), "Action=")
		operation, _, _ = strings.Cut(rest, "&")
	}
	s.mu.Lock()
	a := s.respond(operation, s.counts[operation])
	s.counts[operation]++
	s.mu.Unlock()
	if a.status == 0 {
		a.status = http.StatusOK
	}
	return &http.Response{
		StatusCode: a.status, Header: http.Header{"Content-Type": {"application/x-amz-json-1.1"}}, Body: io.NopCloser(strings.NewReader(a.body)), Request: r,
	}, nil
}

func (s *service) count(operation string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[operation]
}

// inBubble calls f in a bubble, with the resources of a set that a service answers for.
func inBubble(t *testing.T, set wanted.Set, respond func(operation string, before int) answer, f func(t *testing.T, s *service, all []cloud.Resource)) {
	t.Helper()
	none := filepath.Join(t.TempDir(), "none")
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": "http://aws.test", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": none, "AWS_SHARED_CREDENTIALS_FILE": none, "AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(name, value)
	}
	synctest.Test(t, func(t *testing.T) {
		s := &service{counts: make(map[string]int), respond: respond}
		all, err := (&cloud.Cloud{Poll: 20 * time.Second, HTTP: &http.Client{Transport: s}}).Resources(t.Context(), set)
		if err != nil {
			t.Fatal(err)
		}
		f(t, s, all)
	})
}

// kind returns the resource of a kind.
func kind(t *testing.T, all []cloud.Resource, kind string) cloud.Resource {
	t.Helper()
	i := slices.IndexFunc(all, func(r cloud.Resource) bool { return r.Kind() == kind })
	if i < 0 {
		t.Fatalf("no %s in %v", kind, all)
	}
	return all[i]
}

// expectError requires an error with all the texts.
func expectError(t *testing.T, err error, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("got %v, want %q in it", err, text)
		}
	}
}

var (
	clicks = wanted.Set{Streams: []wanted.Stream{{Place: place, Name: "clicks"}}}
	lake   = wanted.Set{Deliveries: []wanted.Delivery{{Place: place, Name: "lake", Bucket: "events"}}}
)

func deliveryIn(status string) answer {
	return answer{body: fmt.Sprintf(`{"DeliveryStreamDescription":{"DeliveryStreamName":"lake","DeliveryStreamStatus":%q,"Destinations":[],"HasMoreDestinations":false}}`, status)}
}

func streamIn(status string) answer {
	return answer{body: fmt.Sprintf(`{"StreamDescriptionSummary":{"StreamName":"clicks","StreamStatus":%q,"OpenShardCount":1,"EncryptionType":"NONE","StreamModeDetails":{"StreamMode":"ON_DEMAND"}}}`, status)}
}

var (
	notFound    = fault("ResourceNotFoundException", "not found")
	unknownRole = fault("InvalidArgumentException", "Firehose is unable to assume role arn:aws:iam::111122223333:role/standpipe-lake-eu-west-1. Please check the role provided.")
)

// IAM makes a new role known after seconds, and AWS shows a new Firehose stream after a while.
func TestDelivery_WaitsForANewRole(t *testing.T) {
	seed := draw.Seed(t)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 5 {
		rejected, unseen, creating := r.IntN(9), r.IntN(4), r.IntN(40)
		inBubble(t, lake, func(operation string, before int) answer {
			switch {
			case operation == "CreateDeliveryStream" && before < rejected:
				return unknownRole
			case operation == "CreateDeliveryStream":
				return answer{body: `{"DeliveryStreamARN":"arn"}`}
			case before < unseen:
				return notFound
			case before < unseen+creating:
				return deliveryIn("CREATING")
			}
			return deliveryIn("ACTIVE")
		}, func(t *testing.T, s *service, all []cloud.Resource) {
			if err := kind(t, all, cloud.KindDelivery).Create(t.Context(), cloud.State{}); err != nil {
				t.Errorf("a role unknown for %d requests, a stream not shown for %d and in creation for %d: %v", rejected, unseen, creating, err)
			}
			if got := s.count("CreateDeliveryStream"); got != rejected+1 {
				t.Errorf("got %d requests CreateDeliveryStream, want %d", got, rejected+1)
			}
		})
	}
}

func TestDelivery_RoleThatIsNeverKnownIsAnError(t *testing.T) {
	inBubble(t, lake, func(string, int) answer { return unknownRole }, func(t *testing.T, _ *service, all []cloud.Resource) {
		d := kind(t, all, cloud.KindDelivery)
		err := cloud.Fault(d, d.Create(t.Context(), cloud.State{}))
		expectError(t, err, `Firehose stream "lake"`, "firehose:CreateDeliveryStream", "Firehose is unable to assume role arn:aws:iam::111122223333:role/standpipe-lake-eu-west-1",
			"for 3m0s", "run the command again")
	})
}

// Another invalid argument does not become valid by waiting.
func TestDelivery_InvalidArgumentIsAnErrorAtOnce(t *testing.T) {
	inBubble(t, lake, func(string, int) answer { return fault("InvalidArgumentException", "the bucket events does not exist") }, func(t *testing.T, s *service, all []cloud.Resource) {
		err := kind(t, all, cloud.KindDelivery).Create(t.Context(), cloud.State{})
		expectError(t, err, "the bucket events does not exist")
		if got := s.count("CreateDeliveryStream"); got != 1 {
			t.Errorf("got %d requests, want one", got)
		}
	})
}

// A state that no wait ends is an error at once, and one that lasts is an error after the wait. Both are named.
func TestCreate_NamesTheStateThatIsNotActive(t *testing.T) {
	for _, test := range []struct {
		kind, status string
		want         []string
		looks        int // at most
	}{
		{cloud.KindDelivery, "CREATING", []string{`Firehose stream "lake"`, "CREATING", "15m0s", "run the command again"}, 46},
		{cloud.KindDelivery, "CREATING_FAILED", []string{`Firehose stream "lake"`, "CREATING_FAILED", "delete it, then run the command again"}, 1},
		{cloud.KindDelivery, "DELETING", []string{`Firehose stream "lake"`, "DELETING", "run the command again once it is deleted"}, 1},
		{cloud.KindDelivery, "DELETING_FAILED", []string{`Firehose stream "lake"`, "DELETING_FAILED", "delete it, then run the command again"}, 1},
		{cloud.KindStream, "CREATING", []string{`Kinesis stream "clicks"`, "CREATING", "15m0s", "run the command again"}, 46},
		{cloud.KindStream, "UPDATING", []string{`Kinesis stream "clicks"`, "UPDATING", "15m0s", "run the command again"}, 46},
		{cloud.KindStream, "DELETING", []string{`Kinesis stream "clicks"`, "DELETING", "run the command again once it is deleted"}, 1},
	} {
		for _, found := range []bool{false, true} {
			inBubble(t, wanted.Set{Streams: clicks.Streams, Deliveries: lake.Deliveries}, func(operation string, _ int) answer {
				switch {
				case !strings.HasPrefix(operation, "Describe"):
					return answer{body: "{}"}
				case test.kind == cloud.KindStream:
					return streamIn(test.status)
				}
				return deliveryIn(test.status)
			}, func(t *testing.T, s *service, all []cloud.Resource) {
				r := kind(t, all, test.kind)
				err := cloud.Fault(r, r.Create(t.Context(), cloud.State{Found: found}))
				expectError(t, err, test.want...)
				if got := s.count("DescribeDeliveryStream") + s.count("DescribeStreamSummary"); got > test.looks {
					t.Errorf("%s in %s: got %d looks, want at most %d", test.kind, test.status, got, test.looks)
				}
			})
		}
	}
}

// A stream that is being deleted is not there for long: it is not kept.
func TestRead_FindsStreamsInDeletionUnfinished(t *testing.T) {
	for _, k := range []string{cloud.KindStream, cloud.KindDelivery} {
		inBubble(t, wanted.Set{Streams: clicks.Streams, Deliveries: lake.Deliveries}, func(operation string, _ int) answer {
			switch operation {
			case "DescribeStreamSummary":
				return streamIn("DELETING")
			case "DescribeDeliveryStream":
				return deliveryIn("DELETING")
			}
			return answer{body: `{"Tags":[],"HasMoreTags":false}`}
		}, func(t *testing.T, _ *service, all []cloud.Resource) {
			if state, err := kind(t, all, k).Read(t.Context()); err != nil || !state.Found || !state.Unfinished {
				t.Errorf("%s: got %+v, %v, want an unfinished one", k, state, err)
			}
		})
	}
}

// An operator who interrupts the command gets the state, and not a failure of a request.
func TestCreate_InterruptedNamesTheState(t *testing.T) {
	inBubble(t, clicks, func(operation string, _ int) answer {
		if operation == "DescribeStreamSummary" {
			return streamIn("CREATING")
		}
		return answer{body: "{}"}
	}, func(t *testing.T, _ *service, all []cloud.Resource) {
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		s := kind(t, all, cloud.KindStream)
		expectError(t, cloud.Fault(s, s.Create(ctx, cloud.State{})), `Kinesis stream "clicks"`, "interrupted", "CREATING")
	})
}

// Looks that AWS throttles for minutes do not end the wait.
func TestStream_ThrottledLooksDoNotEndTheWait(t *testing.T) {
	const throttled = 50
	inBubble(t, clicks, func(operation string, before int) answer {
		switch {
		case operation == "DescribeStreamSummary" && before < throttled:
			return fault("LimitExceededException", "Rate exceeded for account 111122223333.")
		case operation == "DescribeStreamSummary":
			return streamIn("ACTIVE")
		}
		return answer{body: "{}"}
	}, func(t *testing.T, s *service, all []cloud.Resource) {
		if err := kind(t, all, cloud.KindStream).Create(t.Context(), cloud.State{}); err != nil {
			t.Errorf("got %v after %d throttled looks", err, s.count("DescribeStreamSummary"))
		}
	})
}

// A quota is raised by the operator, and a rate is not: the errors say which of them it was.
func TestFault_TellsARateFromAQuota(t *testing.T) {
	inBubble(t, clicks, func(operation string, _ int) answer {
		if operation == "CreateStream" {
			return fault("LimitExceededException", "This request would exceed the shard limit for the account.")
		}
		return fault("LimitExceededException", "Rate exceeded for account 111122223333.")
	}, func(t *testing.T, _ *service, all []cloud.Resource) {
		s := kind(t, all, cloud.KindStream)
		expectError(t, cloud.Fault(s, s.Create(t.Context(), cloud.State{})), `Kinesis stream "clicks"`, "kinesis:CreateStream", "shard limit", "request a higher quota")
		_, err := s.Read(t.Context())
		err = cloud.Fault(s, err)
		expectError(t, err, `Kinesis stream "clicks"`, "kinesis:DescribeStreamSummary", "Rate exceeded", "run the command again later")
		if strings.Contains(err.Error(), "quota") {
			t.Errorf("got %v, want no quota in it", err)
		}
	})
}

// CloudWatch takes three new alarms a second. A configuration of a hundred streams has hundreds of them.
func TestAlarm_ManyAreCreatedAtTheRateOfTheService(t *testing.T) {
	const (
		alarms  = 150
		workers = 4
		rate    = 3
	)
	set := wanted.Set{}
	for i := range alarms {
		set.Alarms = append(set.Alarms, wanted.Alarm{Place: place, Name: fmt.Sprintf("standpipe-kinesis-%d-throttled", i), Namespace: "AWS/Kinesis", Metric: "IncomingBytes", Statistic: "Sum"})
	}
	tokens, last := float64(rate), time.Time{}
	created := 0
	inBubble(t, set, func(operation string, _ int) answer {
		if operation != "PutMetricAlarm" {
			return answer{body: "<DescribeAlarmsResponse><DescribeAlarmsResult><MetricAlarms/></DescribeAlarmsResult></DescribeAlarmsResponse>"}
		}
		if !last.IsZero() {
			tokens = min(rate, tokens+time.Since(last).Seconds()*rate)
		}
		last = time.Now()
		if tokens < 1 {
			return answer{http.StatusBadRequest, "<ErrorResponse><Error><Type>Sender</Type><Code>Throttling</Code><Message>Rate exceeded</Message></Error></ErrorResponse>"}
		}
		tokens--
		created++
		return answer{body: "<PutMetricAlarmResponse/>"}
	}, func(t *testing.T, s *service, all []cloud.Resource) {
		next := make(chan cloud.Resource)
		var wait sync.WaitGroup
		for range workers {
			wait.Go(func() {
				for a := range next {
					if err := a.Create(t.Context(), cloud.State{}); err != nil {
						t.Errorf("%s: %v", a.Name(), err)
					}
				}
			})
		}
		for _, a := range all {
			next <- a
		}
		close(next)
		wait.Wait()
		t.Logf("%d requests for %d alarms", s.count("PutMetricAlarm"), created)
	})
	if created != alarms {
		t.Errorf("got %d alarms, want %d", created, alarms)
	}
}
