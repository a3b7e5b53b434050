package upload_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/standpipe/standpipe/shipper/sink"
	"github.com/standpipe/standpipe/shipper/sink/internal/awsclient"
	"github.com/standpipe/standpipe/shipper/sink/s3/internal/upload"
	"github.com/standpipe/standpipe/test/testkit"
)

// A slow link takes minutes for the bytes that the kernel has taken at once. A request is not ended while they arrive.
func TestUpload_WaitsForBytesThatTheKernelHolds(t *testing.T) {
	if testing.Short() {
		t.Skip("-short leaves out the tests that wait for a slow link")
	}
	t.Parallel()
	const size, step, pause = 1 << 20, 25 << 10, 250 * time.Millisecond
	l, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_ = conn.(*net.TCPConn).SetReadBuffer(step)
		request, err := http.ReadRequest(bufio.NewReaderSize(conn, 4096))
		for ; err == nil; time.Sleep(pause) {
			_, err = io.CopyN(io.Discard, request.Body, step)
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nETag: \"tag\"\r\nContent-Length: 0\r\n\r\n")
	}()

	cfg, err := awsclient.Config(t.Context(), sink.AWS{
		Region: "us-east-1", Endpoint: "http://" + l.Addr().String(), Credentials: credentials.NewStaticCredentialsProvider("A", "s", ""),
	})
	testkit.Must(t, err)
	b := &upload.Bucket{Name: "events", Client: s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })}
	b.PartSize, b.Timeout = size, 4*time.Second
	u := upload.New(b, upload.Object{Key: "k"})
	u.Write(make([]byte, size))
	if err := u.Commit(t.Context()); err != nil {
		t.Errorf("got %v although bytes arrive all the time", err)
	}
}
