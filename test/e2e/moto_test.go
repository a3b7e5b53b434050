//go:build unix

package e2e_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"github.com/standpipe/standpipe/test/testkit"
)

// moto is Data Firehose and S3 for tests: it writes one object a PutRecordBatch. Object names have the time in
// seconds only, so a recorder in front of it notes the order of the calls.
type moto struct {
	*process
	t        *testing.T
	address  string
	recorder *httptest.Server

	mu      sync.Mutex
	batches [][]byte // the joined records of each PutRecordBatch; guarded by mu
}

const bucket = "events"

func startMoto(t *testing.T) *moto {
	t.Helper()
	m := &moto{t: t, address: testkit.FreeAddress(t)}
	_, port, _ := net.SplitHostPort(m.address)
	cmd := exec.Command(standin(t, "py", "bin", "moto_server"), "-H", "127.0.0.1", "-p", port)
	cmd.Env = append(os.Environ(), "PYTHONWARNINGS=ignore")
	m.process = startProcess(t, cmd)
	m.process.waitListening(m.address)
	upstream, _ := url.Parse("http://" + m.address)
	proxy := httputil.NewSingleHostReverseProxy(upstream)
	m.recorder = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.record(r)
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(m.recorder.Close)
	return m
}

// endpoint is the recorder's address.
func (m *moto) endpoint() string { return m.recorder.URL }

func (m *moto) record(r *http.Request) {
	if r.Header.Get("X-Amz-Target") != "Firehose_20150804.PutRecordBatch" {
		return
	}
	body, err := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	if err != nil {
		return // the connection was cut, and moto gets no more of it
	}
	var call struct{ Records []struct{ Data []byte } }
	if err := json.Unmarshal(body, &call); err != nil {
		m.t.Errorf("PutRecordBatch of %d bytes: %v", len(body), err)
		return
	}
	var joined []byte
	for _, record := range call.Records {
		joined = append(joined, record.Data...)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.batches = append(m.batches, joined)
}

// create makes a bucket and a delivery stream into it.
func (m *moto) create(deliveryStream string) {
	m.t.Helper()
	m.s3(http.MethodPut, "/"+bucket)
	client := firehose.New(firehose.Options{
		Region:       region,
		BaseEndpoint: aws.String("http://" + m.address),
		Credentials:  credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
	_, err := client.CreateDeliveryStream(m.t.Context(), &firehose.CreateDeliveryStreamInput{
		DeliveryStreamName: &deliveryStream,
		ExtendedS3DestinationConfiguration: &types.ExtendedS3DestinationConfiguration{
			BucketARN: aws.String("arn:aws:s3:::" + bucket),
			RoleARN:   aws.String("arn:aws:iam::123456789012:role/firehose"),
		},
	})
	if err != nil {
		m.t.Fatal(err)
	}
}

// s3 sends a request to moto's S3, which requires a caller and checks no signature.
func (m *moto) s3(method, path string) []byte {
	m.t.Helper()
	request, err := http.NewRequestWithContext(m.t.Context(), method, "http://"+m.address+path, nil)
	if err != nil {
		m.t.Fatal(err)
	}
	request.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20261102/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0")
	r, err := http.DefaultClient.Do(request)
	if err != nil {
		m.t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		m.t.Fatalf("%s %s: %s: %v", method, path, r.Status, err)
	}
	return body
}

// objects returns the contents of the bucket's objects.
func (m *moto) objects() [][]byte {
	m.t.Helper()
	var contents [][]byte
	token := ""
	for {
		var page struct {
			Contents              []struct{ Key string }
			NextContinuationToken string
		}
		if err := xml.Unmarshal(m.s3(http.MethodGet, "/"+bucket+"?list-type=2"+token), &page); err != nil {
			m.t.Fatal(err)
		}
		for _, object := range page.Contents {
			contents = append(contents, m.s3(http.MethodGet, "/"+bucket+"/"+(&url.URL{Path: object.Key}).EscapedPath()))
		}
		if page.NextContinuationToken == "" {
			return contents
		}
		token = "&continuation-token=" + url.QueryEscape(page.NextContinuationToken)
	}
}

// contents returns the bucket's objects in the order of the calls that wrote them.
func (m *moto) contents() [][]byte {
	m.t.Helper()
	m.mu.Lock()
	called := slices.Clone(m.batches)
	m.mu.Unlock()
	if err := sameContents(m.objects(), called); err != nil {
		m.t.Fatal(err)
	}
	return called
}

// read returns the events of the bucket's objects in the order of the calls that wrote them.
func (m *moto) read(field string) []event {
	m.t.Helper()
	events, err := lines(bytes.Join(m.contents(), nil), field)
	if err != nil {
		m.t.Fatal(err)
	}
	return events
}

// sameContents requires each call's bytes to be in one object.
func sameContents(objects, called [][]byte) error {
	byBytes := func(a, b []byte) int { return bytes.Compare(a, b) }
	if !slices.EqualFunc(slices.SortedFunc(slices.Values(objects), byBytes), slices.SortedFunc(slices.Values(called), byBytes), bytes.Equal) {
		return fmt.Errorf("%d objects do not hold what %d calls carried", len(objects), len(called))
	}
	return nil
}

func TestStandins_DeliverToObjects(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	m := startMoto(t)
	m.create("proof")
	want := readings(3, 50)
	client := firehose.New(firehose.Options{Region: region, BaseEndpoint: aws.String(m.endpoint()),
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")})
	for _, part := range [][]event{want[:20], want[20:]} {
		var text strings.Builder
		for _, e := range part {
			text.WriteString(e.data + "\n")
		}
		out, err := client.PutRecordBatch(t.Context(), &firehose.PutRecordBatchInput{
			DeliveryStreamName: aws.String("proof"), Records: []types.Record{{Data: []byte(text.String())}},
		})
		if err != nil || *out.FailedPutCount != 0 {
			t.Fatalf("got %v, %v, want 0 failed", out, err)
		}
	}
	owing(want).expectWhole(t, "moto", m.read("sensor"), 0)
}
