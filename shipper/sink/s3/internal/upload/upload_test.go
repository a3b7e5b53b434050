package upload_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/standpipe/standpipe/shipper/sink/s3/internal/upload"
	"github.com/standpipe/standpipe/test/fakes3"
)

func bucketOf(srv *fakes3.Server) *upload.Bucket {
	return &upload.Bucket{Name: "events", PartSize: 100, Client: s3.New(s3.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(srv.URL), UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider("A", "s", ""), Retryer: aws.NopRetryer{},
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported,
	})}
}

func TestUpload_HasEveryByteWhateverTheSizes(t *testing.T) {
	for _, test := range []struct{ write, writes, requests int }{
		{0, 0, 1}, {1, 1, 1}, {99, 1, 1}, {100, 1, 1}, {50, 2, 1}, {101, 1, 4}, {200, 1, 4}, {201, 1, 5}, {30, 10, 5}, {1000, 1, 12}, {7, 143, 13},
	} {
		srv := fakes3.Start(t)
		u := upload.New(bucketOf(srv), upload.Object{Key: "k"})
		var want bytes.Buffer
		for i := range test.writes {
			p := bytes.Repeat(fmt.Append(nil, i%10), test.write)
			want.Write(p)
			u.Write(p)
			if err := u.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := u.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := srv.Objects()["k"].Body; !bytes.Equal(got, want.Bytes()) {
			t.Errorf("%d writes of %d: got %d bytes, want %d", test.writes, test.write, len(got), want.Len())
		}
		if u.Requests != test.requests || srv.Requests() != test.requests || u.Size != int64(want.Len()) {
			t.Errorf("%d writes of %d: got %d requests (%d), size %d, want %d requests", test.writes, test.write, u.Requests, srv.Requests(), u.Size, test.requests)
		}
	}
}

func TestUpload_GoesOnAfterEveryError(t *testing.T) {
	for failed := 1; failed <= 5; failed++ {
		srv := fakes3.Start(t)
		srv.Fail = func(r fakes3.Request) fakes3.Fault {
			if r.N == failed {
				return fakes3.Fault{Status: 503, Code: "SlowDown"}
			}
			return fakes3.Fault{}
		}
		u := upload.New(bucketOf(srv), upload.Object{Key: "k"})
		u.Write(bytes.Repeat([]byte("abc"), 80))
		for range 2 {
			if u.Flush(t.Context()) == nil {
				break
			}
		}
		for range 2 {
			if u.Commit(t.Context()) == nil {
				break
			}
		}
		if got := srv.Objects()["k"].Body; !bytes.Equal(got, bytes.Repeat([]byte("abc"), 80)) {
			t.Errorf("request %d fails: got %d bytes", failed, len(got))
		}
	}
}

func TestUpload_AbortLeavesNothing(t *testing.T) {
	srv := fakes3.Start(t)
	u := upload.New(bucketOf(srv), upload.Object{Key: "k"})
	u.Write(make([]byte, 150))
	if err := u.Flush(t.Context()); err != nil || len(srv.Uploads()) != 1 {
		t.Fatalf("got %v, uploads %v", err, srv.Uploads())
	}
	if err := u.Abort(t.Context()); err != nil || len(srv.Uploads()) != 0 || len(srv.Objects()) != 0 {
		t.Errorf("got %v, uploads %v, %d objects", err, srv.Uploads(), len(srv.Objects()))
	}
}
