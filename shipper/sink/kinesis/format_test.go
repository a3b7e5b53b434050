package kinesis_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/aws/smithy-go/encoding/cbor"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink/kinesis"
	"github.com/standpipe/standpipe/shipper/sink/sinktest"
	"github.com/standpipe/standpipe/test/fakeaws"
)

const contentCBOR = "application/x-amz-cbor-1.1"

// jsonOnly is a server in front of the service that takes no CBOR.
type jsonOnly struct {
	*httptest.Server
	rejected atomic.Int32 // requests in CBOR
}

func startJSONOnly(t *testing.T, srv http.Handler, reject http.HandlerFunc) *jsonOnly {
	t.Helper()
	front := new(jsonOnly)
	front.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Content-Type") != contentCBOR {
			srv.ServeHTTP(w, r)
			return
		}
		io.Copy(io.Discard, r.Body)
		front.rejected.Add(1)
		reject(w, r)
	}))
	t.Cleanup(front.Close)
	return front
}

// openBehind opens a destination that reaches the service through a server in front.
func openBehind(t *testing.T, srv *fakeaws.Server, front string) *kinesis.Sink {
	t.Helper()
	aws := srv.Options()
	aws.Endpoint = front
	k, err := kinesis.New(t.Context(), kinesis.Options{Stream: "clicks", AWS: aws, CBOR: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

// respondWith returns a rejection with that status, content type and body.
func respondWith(status int, content, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", content)
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

// rejectCBOR is a rejection of CBOR as the service words it for a body that it can't decode.
var rejectCBOR = respondWith(400, "application/x-amz-json-1.1", `{"__type":"SerializationException"}`)

func keyed(n int) (batch []shipper.Record) {
	for i := range n {
		batch = append(batch, shipper.Record{Key: fmt.Sprint("key-", i), Events: 1, Data: fmt.Append(nil, "event ", i)})
	}
	return batch
}

func TestFormat_JSONWhereAnEndpointRejectsCBOR(t *testing.T) {
	const asJSON = "application/x-amz-json-1.1"
	cases := []struct {
		name   string
		reject http.HandlerFunc
		atOnce bool // within the Send that meets the rejection
	}{
		{"a body that can't be decoded", rejectCBOR, true},
		{"an unknown content type", respondWith(404, "text/html", "<UnknownOperationException/>\n"), true},
		{"an unsupported media type", respondWith(415, "text/plain", "no"), true},
		{"a body without members", respondWith(400, asJSON, `{"__type":"ValidationException","message":"1 validation error detected: Value at 'streamName' failed to satisfy constraint: Member must not be null"}`), true},
		{"a crash", respondWith(500, "text/html", "<!doctype html><title>500 Internal Server Error</title>"), true},
		{"a failure", respondWith(500, asJSON, `{"__type":"InternalFailure","message":"sorry"}`), false},
		{"a body that is ignored", respondWith(200, asJSON, `{"FailedRecordCount":0,"Records":[]}`), false},
		{"a closed connection", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			srv := fakeaws.Start(t)
			front := startJSONOnly(t, srv, c.reject)
			k := openBehind(t, srv, front.URL)
			batch := keyed(3)
			first := k.Send(t.Context(), batch)
			if atOnce := first.Err == nil; atOnce != c.atOnce {
				t.Fatalf("got %v from the first Send, want success: %t", first.Err, c.atOnce)
			}
			if !c.atOnce {
				if first.Err.Class != shipper.Transient {
					t.Errorf("got %v, want it transient", first.Err)
				}
				if again := k.Send(t.Context(), batch); again.Err != nil {
					t.Fatalf("got %v from the second Send, want success", again.Err)
				}
			}
			other := openBehind(t, srv, front.URL)
			for range 3 {
				if r := other.Send(t.Context(), keyed(1)); r.Err != nil {
					t.Fatal(r.Err)
				}
			}
			if got := front.rejected.Load(); got != 1 {
				t.Errorf("got %d requests in CBOR, want 1 in the life of the process", got)
			}
			if got, want := srv.Stored(), 3+3; got != want {
				t.Errorf("got %d records stored, want each once: %d", got, want)
			}
		})
	}
}

// An endpoint that is not AWS's gets JSON alone.
func TestFormat_JSONAtOtherEndpoints(t *testing.T) {
	srv := fakeaws.Start(t)
	front := startJSONOnly(t, srv, rejectCBOR)
	aws := srv.Options()
	aws.Endpoint = front.URL
	k, err := kinesis.New(t.Context(), kinesis.Options{Stream: "clicks", AWS: aws})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	for range 3 {
		if r := k.Send(t.Context(), keyed(3)); r.Err != nil {
			t.Error(r.Err)
		}
	}
	if got, stored := front.rejected.Load(), srv.Stored(); got != 0 || stored != 9 {
		t.Errorf("got %d requests in CBOR and %d records stored, want 0 and 9", got, stored)
	}
}

// Errors that say nothing about the format don't end the attempts with CBOR.
func TestFormat_OtherErrorsLeaveCBOR(t *testing.T) {
	srv := fakeaws.Start(t)
	var rejection atomic.Value
	var inCBOR, asJSON atomic.Int32
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if fakeaws.InCBOR(r) {
			inCBOR.Add(1)
		} else {
			asJSON.Add(1)
		}
		if reject, ok := rejection.Load().(http.HandlerFunc); ok && reject != nil {
			reject(w, r)
			return
		}
		srv.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	k := openBehind(t, srv, front.URL)
	if r := k.Send(t.Context(), keyed(1)); r.Err != nil {
		t.Fatal(r.Err)
	}
	for _, reject := range []http.HandlerFunc{
		respondWith(503, "text/html", "busy"),
		respondWith(500, "text/html", "oops"),
		respondWith(403, "text/html", "<UnrecognizedClientException/>"),
		respondWith(400, "application/x-amz-json-1.1", `{"__type":"ExpiredTokenException"}`),
		func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		rejection.Store(reject)
		if r := k.Send(t.Context(), keyed(1)); r.Err == nil {
			t.Error("got no error of a rejected request")
		}
		rejection.Store(http.HandlerFunc(nil))
		if r := k.Send(t.Context(), keyed(1)); r.Err != nil {
			t.Error(r.Err)
		}
	}
	if inCBOR.Load() != 11 || asJSON.Load() != 0 {
		t.Errorf("got %d requests in CBOR and %d in JSON, want 11 and 0", inCBOR.Load(), asJSON.Load())
	}
}

// An error has the same class, code and text in both formats.
func TestFormat_ErrorsAreTheSame(t *testing.T) {
	type answer struct {
		status int
		header string // x-amzn-ErrorType
		body   map[string]string
	}
	answers := []answer{
		{400, "", map[string]string{"__type": "ProvisionedThroughputExceededException", "message": "Rate exceeded"}},
		{400, "", map[string]string{"__type": "com.amazonaws.kinesis.v20131202#ResourceNotFoundException", "message": "no stream"}},
		{400, "", map[string]string{"__type": "ValidationException", "message": "Value at 'records.1.member.data' failed to satisfy constraint: Member must have length less than or equal to 1"}},
		{400, "", map[string]string{"__type": "InvalidArgumentException", "Message": "with a capital"}},
		{400, "KMSThrottlingException:http://internal.amazon.com/coral/", map[string]string{"message": "slow"}},
		{400, "AccessDeniedException", nil},
		{400, "", map[string]string{"__type": "ExpiredTokenException"}},
		{500, "", map[string]string{"__type": "InternalFailure", "message": "sorry"}},
		{503, "", map[string]string{"__type": "ServiceUnavailable"}},
		{413, "", map[string]string{"message": "too much"}},
		{418, "", nil},
	}
	for i, a := range answers {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			var got [2]shipper.Response
			for j, inJSON := range []bool{true, false} {
				srv := fakeaws.Start(t)
				var failing atomic.Bool
				reply := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if !failing.Load() {
						srv.ServeHTTP(w, r)
						return
					}
					io.Copy(io.Discard, r.Body)
					w.Header().Set("X-Amzn-ErrorType", a.header)
					w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
					w.WriteHeader(a.status)
					if a.body != nil && inJSON {
						json.NewEncoder(w).Encode(a.body)
					} else if a.body != nil {
						w.Write(inMap(a.body))
					}
				})
				front := httptest.NewServer(reply)
				if inJSON {
					front.Close()
					front = startJSONOnly(t, reply, rejectCBOR).Server
				}
				t.Cleanup(front.Close)
				k := openBehind(t, srv, front.URL)
				batch := keyed(1)
				if r := k.Send(t.Context(), batch); r.Err != nil {
					t.Fatal(r.Err)
				}
				failing.Store(true)
				got[j] = k.Send(t.Context(), batch)
			}
			if got[0].Err == nil || got[1].Err == nil || *got[0].Err != *got[1].Err || got[0].Code != got[1].Code {
				t.Errorf("got %s %+v in JSON, %s %+v in CBOR", got[0].Code, got[0].Err, got[1].Code, got[1].Err)
			}
		})
	}
}

func inMap(texts map[string]string) []byte {
	m := cbor.Map{}
	for name, text := range texts {
		m[name] = cbor.String(text)
	}
	return cbor.Encode(m)
}

func TestFormat_CBORIsSmaller(t *testing.T) {
	srv := fakeaws.Start(t)
	small, large := openBehind(t, srv, srv.URL()), openBehind(t, srv, startJSONOnly(t, srv, rejectCBOR).URL)
	batch := []shipper.Record{{Key: "k", Events: 1, Data: bytes.Repeat([]byte("x"), 30_000)}}
	large.Send(t.Context(), batch)
	a, b := small.Send(t.Context(), batch), large.Send(t.Context(), batch)
	if a.Err != nil || b.Err != nil || a.Sent > 30_100 || b.Sent < 40_000 {
		t.Errorf("got %d bytes in CBOR, %d in JSON, %v, %v", a.Sent, b.Sent, a.Err, b.Err)
	}
}

func TestConformance_InJSON(t *testing.T) {
	sinktest.Run(t, func(t *testing.T) sinktest.Target {
		srv := fakeaws.Start(t)
		front := startJSONOnly(t, srv, rejectCBOR)
		k := openBehind(t, srv, front.URL)
		return srv.Target(k)
	})
}
