package kinesis_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink/firehose"
	"github.com/standpipe/standpipe/shipper/sink/kinesis"
	"github.com/standpipe/standpipe/shipper/sink/sinktest"
	"github.com/standpipe/standpipe/test/fakeaws"
)

func TestKinesis_PutsKeysUnchanged(t *testing.T) {
	srv := fakeaws.Start(t)
	k := open(t, srv)
	batch := sinktest.Records(2)
	batch[0].Key, batch[1].Key = "a key/with ümlaut \"", "é"
	if got := k.Send(t.Context(), batch); got.Err != nil || got.Code != "200" {
		t.Fatalf("got %v, code %s", got.Err, got.Code)
	}
	for i, got := range srv.Records() {
		if got.Key != batch[i].Key || got.Stream != "clicks" {
			t.Errorf("got %q %q, want %q", got.Stream, got.Key, batch[i].Key)
		}
	}
}

func TestPayload_EmptyIsStored(t *testing.T) {
	srv := fakeaws.Start(t)
	batch := []shipper.Record{{Key: "k", First: 1, Last: 1, Events: 1}}
	if got := open(t, srv).Send(t.Context(), batch); got.Err != nil || got.Results[0] != nil {
		t.Fatalf("got %v", got)
	}
	if got := srv.Stored(); got != 1 {
		t.Errorf("got %d stored, want 1", got)
	}
}

func TestStreamARN(t *testing.T) {
	srv := fakeaws.Start(t)
	arn := "arn:aws:kinesis:eu-central-1:123456789012:stream/clicks"
	k, err := kinesis.New(t.Context(), kinesis.Options{Stream: arn, AWS: srv.Options()})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	if got := k.Send(t.Context(), sinktest.Records(1)); got.Err != nil {
		t.Fatal(got.Err)
	}
	if got := srv.Records()[0].Stream; got != arn {
		t.Errorf("got %q, want %q", got, arn)
	}
}

func TestKinesisShapes(t *testing.T) {
	srv := fakeaws.Start(t)
	for _, c := range []struct {
		aggregate, framing shipper.Framing
		events             int
	}{
		{"", shipper.FramingKPL, 0},
		{shipper.FramingKPL, shipper.FramingKPL, 0},
		{shipper.FramingLines, shipper.FramingLines, 0},
		{shipper.FramingNone, shipper.FramingNone, 1},
	} {
		o := kinesis.Options{Stream: "s", Aggregate: c.aggregate, AWS: srv.Options()}
		k, err := kinesis.New(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		got := k.Shape()
		if got.Framing != c.framing || got.RecordEvents != c.events || !got.OneKey || got.AimRecord != 500<<10 {
			t.Errorf("%q: got %+v", c.aggregate, got)
		}
	}
}

func TestOptions_Invalid(t *testing.T) {
	if _, err := kinesis.New(t.Context(), kinesis.Options{}); err == nil {
		t.Error("kinesis: no stream: got no error")
	}
	if _, err := kinesis.New(t.Context(), kinesis.Options{Stream: "s", Aggregate: "zip"}); err == nil {
		t.Error("kinesis: unknown framing: got no error")
	}
	if _, err := firehose.New(t.Context(), firehose.Options{}); err == nil {
		t.Error("firehose: no stream: got no error")
	}
}

func TestRequest_IsOneAttempt(t *testing.T) {
	t.Setenv("AWS_MAX_ATTEMPTS", "5")
	srv := fakeaws.Start(t)
	k := open(t, srv)
	srv.FailNext(fakeaws.Throttle(), fakeaws.Refuse(500, "InternalFailure", ""), fakeaws.CutBefore())
	for range 3 {
		k.Send(t.Context(), sinktest.Records(1))
	}
	if got := srv.Requests(); got != 3 {
		t.Errorf("got %d requests, want 3", got)
	}
}

func TestStream_IgnoringKeysIsRejected(t *testing.T) {
	srv := fakeaws.Start(t)
	srv.IgnoreKeys(true)
	o := kinesis.Options{Stream: "s", CheckKeys: time.Nanosecond, AWS: srv.Options()}
	k, err := kinesis.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	got := k.Send(t.Context(), sinktest.Records(1))
	if got.Err == nil || got.Err.Class != shipper.Operator || srv.Requests() != 0 {
		t.Fatalf("got %+v after %d requests", got.Err, srv.Requests())
	}
	srv.IgnoreKeys(false)
	if got := k.Send(t.Context(), sinktest.Records(1)); got.Err != nil || srv.Stored() != 1 {
		t.Fatalf("got %+v, %d stored", got.Err, srv.Stored())
	}
}

func TestStream_ThatMayNotBeDescribedIsShippedTo(t *testing.T) {
	srv := fakeaws.Start(t)
	o := kinesis.Options{Stream: "s", CheckKeys: time.Hour, AWS: srv.Options()}
	o.AWS.Endpoint = noDescribe(t, srv)
	k, err := kinesis.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	if err := k.Check(t.Context()); err == nil || err.Class != shipper.Operator {
		t.Errorf("got %v from Check, want an operator's error", err)
	}
	if _, err := k.Describe(t.Context()); err == nil || err.Class != shipper.Operator {
		t.Errorf("got %+v", err)
	}
	if got := k.Send(t.Context(), sinktest.Records(1)); got.Err != nil || srv.Stored() != 1 {
		t.Errorf("got %+v, %d stored", got.Err, srv.Stored())
	}
}

// noDescribe returns the endpoint of srv for a producer without the right to describe the stream.
func noDescribe(t *testing.T, srv *fakeaws.Server) string {
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".DescribeStreamSummary") {
			w.WriteHeader(400)
			w.Write([]byte(`{"__type":"AccessDeniedException","message":"no"}`))
			return
		}
		srv.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	return front.URL
}

func TestDescribe(t *testing.T) {
	got, err := open(t, fakeaws.Start(t)).Describe(t.Context())
	if want := (kinesis.Description{MaxRecord: 1 << 20}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func TestShape_LargeRecordsRaiseTheBatch(t *testing.T) {
	o := kinesis.Options{Stream: "s", MaxRecord: 8 << 20, AWS: fakeaws.Start(t).Options()}
	k, err := kinesis.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	if got := k.Shape(); got.MaxRecord != 8<<20 || got.MaxBatch != 8<<20 || got.AimBatch != 5<<20 {
		t.Errorf("got %+v", got)
	}
}
