package cloud_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/standpipe/standpipe/agent/provision/internal/cloud"
	"github.com/standpipe/standpipe/agent/provision/internal/wanted"
)

const account = "111122223333"

// aws responds to the requests of one test. It has the operations in order.
type aws struct {
	mu         sync.Mutex
	operations []string // guarded by mu
}

func (a *aws) all() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.operations)
}

// serveAWS points the SDK to a server. The function respond gets the operation, the number of its requests before this one, and
// the request.
func serveAWS(t *testing.T, respond func(w http.ResponseWriter, operation string, before int, r *http.Request)) *aws {
	t.Helper()
	a := &aws{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		target := r.Header.Get("X-Amz-Target")
		operation := r.Method + target[strings.LastIndex(target, ".")+1:]
		a.mu.Lock()
		before := 0
		for _, o := range a.operations {
			if o == operation {
				before++
			}
		}
		a.operations = append(a.operations, operation)
		a.mu.Unlock()
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		respond(w, operation, before, r)
	}))
	t.Cleanup(srv.Close)
	none := filepath.Join(t.TempDir(), "none")
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": srv.URL, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": none, "AWS_SHARED_CREDENTIALS_FILE": none, "AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(name, value)
	}
	return a
}

var place = wanted.Place{Region: "eu-west-1", Account: account}

// only returns the one resource of a set.
func only(t *testing.T, set wanted.Set, kind string) cloud.Resource {
	t.Helper()
	all, err := (&cloud.Cloud{Poll: time.Millisecond}).Resources(t.Context(), set)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		if r.Kind() == kind {
			return r
		}
	}
	t.Fatalf("no %s in %v", kind, all)
	return nil
}

// A Kinesis stream of others that is in creation is awaited, and is not changed.
func TestStream_OfOthersIsNotEncrypted(t *testing.T) {
	a := serveAWS(t, func(w http.ResponseWriter, operation string, before int, _ *http.Request) {
		switch operation {
		case "POSTDescribeStreamSummary":
			status := "CREATING"
			if before > 1 {
				status = "ACTIVE"
			}
			fmt.Fprintf(w, `{"StreamDescriptionSummary":{"StreamName":"clicks","StreamStatus":%q,"OpenShardCount":1,"EncryptionType":"NONE","StreamModeDetails":{"StreamMode":"ON_DEMAND"}}}`, status)
		case "POSTListTagsForStream":
			io.WriteString(w, `{"Tags":[{"Key":"team","Value":"web"}],"HasMoreTags":false}`)
		default:
			io.WriteString(w, "{}")
		}
	})
	s := only(t, wanted.Set{Streams: []wanted.Stream{{Place: place, Name: "clicks"}}}, cloud.KindStream)
	state, err := s.Read(t.Context())
	if err != nil || !state.Unfinished {
		t.Fatalf("got %+v, %v, want a stream that is not usable yet", state, err)
	}
	if err := s.Create(t.Context(), state); err != nil {
		t.Error(err)
	}
	for _, operation := range a.all() {
		if operation != "POSTDescribeStreamSummary" && operation != "POSTListTagsForStream" {
			t.Errorf("%s changed the stream", operation)
		}
	}
}

// A Firehose stream that AWS could not create is not kept: a second run reports it as well.
func TestDelivery_ThatFailedIsReportedAgain(t *testing.T) {
	serveAWS(t, func(w http.ResponseWriter, _ string, _ int, _ *http.Request) {
		io.WriteString(w, `{"DeliveryStreamDescription":{"DeliveryStreamName":"lake","DeliveryStreamStatus":"CREATING_FAILED","FailureDescription":{"Type":"CREATE_KMS_GRANT_FAILED","Details":"no grant"},"Destinations":[],"HasMoreDestinations":false}}`)
	})
	d := only(t, wanted.Set{Deliveries: []wanted.Delivery{{Place: place, Name: "lake", Bucket: "events"}}}, cloud.KindDelivery)
	state, err := d.Read(t.Context())
	if err != nil || !state.Found || !state.Unfinished {
		t.Errorf("got %+v, %v, want an unfinished one", state, err)
	}
	if err := d.Create(t.Context(), state); err == nil || !strings.Contains(err.Error(), "CREATE_KMS_GRANT_FAILED: no grant") {
		t.Errorf("got %v", err)
	}
}

// A bucket of another account is an error, also if its policy lets everybody read its settings.
func TestBucket_OfAnotherAccountIsAnError(t *testing.T) {
	for owner, allowed := range map[string]bool{account: true, "444455556666": false} {
		serveAWS(t, func(w http.ResponseWriter, operation string, _ int, r *http.Request) {
			if expected := r.Header.Get("X-Amz-Expected-Bucket-Owner"); expected != "" && expected != owner {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			switch {
			case operation == http.MethodHead:
			case r.URL.Query().Has("publicAccessBlock"):
				io.WriteString(w, `<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls><IgnorePublicAcls>true</IgnorePublicAcls><BlockPublicPolicy>true</BlockPublicPolicy><RestrictPublicBuckets>true</RestrictPublicBuckets></PublicAccessBlockConfiguration>`)
			case r.URL.Query().Has("encryption"):
				io.WriteString(w, `<ServerSideEncryptionConfiguration><Rule></Rule></ServerSideEncryptionConfiguration>`)
			default:
				io.WriteString(w, `<LifecycleConfiguration><Rule><Status>Enabled</Status><AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule></LifecycleConfiguration>`)
			}
		})
		b := only(t, wanted.Set{Buckets: []wanted.Bucket{{Place: place, Name: "standpipe-" + account + "-eu-west-1"}}}, "S3 bucket")
		state, err := b.Read(t.Context())
		if allowed && (err != nil || !state.Found || len(state.Differences) > 0) || !allowed && !strings.Contains(fmt.Sprint(cloud.Fault(b, err)), "another account") {
			t.Errorf("owner %s: got %+v, %v", owner, state, err)
		}
	}
}
