package awsclient_test

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdkkinesis "github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/standpipe/standpipe/shipper/sink"
	"github.com/standpipe/standpipe/shipper/sink/internal/awsclient"
	"github.com/standpipe/standpipe/test/certkit"
)

// The endpoints of AWS offer HTTP/2. A client that offers it too, and then sends a request of HTTP/1.1, gets no response.
func TestTLS_ServerThatOffersHTTP2GetsHTTP1(t *testing.T) {
	dir := t.TempDir()
	ca := certkit.New(t, dir, "ca")
	pair, err := tls.LoadX509KeyPair(ca.Issue("service", certkit.Localhost("service")))
	if err != nil {
		t.Fatal(err)
	}
	var protocols []string
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		protocols = append(protocols, r.Proto)
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, `{"FailedRecordCount":0,"Records":[{"SequenceNumber":"1","ShardId":"s"}]}`)
	}))
	srv.EnableHTTP2 = true
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	srv.StartTLS()
	t.Cleanup(srv.Close)

	for _, bundle := range []string{"", filepath.Join(dir, "ca.pem")} {
		t.Setenv("AWS_CA_BUNDLE", bundle)
		cfg, err := awsclient.Config(t.Context(), sink.AWS{
			Region: "eu-west-1", Endpoint: srv.URL, Credentials: credentials.NewStaticCredentialsProvider("AKIDFAKE", "secret", ""),
		})
		if err != nil {
			t.Fatal(err)
		}
		_, err = sdkkinesis.NewFromConfig(cfg).PutRecords(t.Context(), &sdkkinesis.PutRecordsInput{
			StreamName: aws.String("s"), Records: []types.PutRecordsRequestEntry{{PartitionKey: aws.String("k"), Data: []byte("d")}},
		})
		if (err == nil) != (bundle != "") {
			t.Errorf("CA bundle %q: got %v", filepath.Base(bundle), err)
		}
		awsclient.Release(cfg.HTTPClient)
	}
	if len(protocols) != 1 || protocols[0] != "HTTP/1.1" {
		t.Errorf("got requests of protocols %q, want one of HTTP/1.1", protocols)
	}
}
