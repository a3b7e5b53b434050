package awsclient_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink/internal/awsclient"
	"github.com/standpipe/standpipe/shipper/sink/internal/dial"
	"github.com/standpipe/standpipe/shipper/sink/internal/failure"
)

// zeros is an endless body.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// A server that reads nothing has room for a few megabytes in its buffers. A request of 64 GB cannot arrive before its deadline, and
// is ended long before. The response has the bytes that arrived.
func TestUpload_HopelessRequestEndsEarly(t *testing.T) {
	if testing.Short() {
		t.Skip("-short leaves out the tests that wait for a slow link")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	transport := &http.Transport{DialContext: new(dial.Dialer).DialContext}
	defer transport.CloseIdleConnections()

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	ctx, up := awsclient.CountSent(ctx)
	const size = 64 << 30
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+l.Addr().String(), io.LimitReader(zeros{}, size))
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = size
	_, err = awsclient.WholeReply(transport).Do(req)
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() || ctx.Err() != nil || !strings.Contains(err.Error(), "too slow for the timeout") {
		t.Fatalf("got %v, and the context's error %v; want a timeout before the context's", err, ctx.Err())
	}
	response := shipper.Response{Err: failure.Of(err)}
	awsclient.NoteSent(&response, up)
	if response.Err.Code != failure.CodeTimeout || response.Acked <= 0 || response.Acked > response.Sent || response.Moving < time.Second {
		t.Errorf("got code %s, %d of %d bytes acknowledged in %s", response.Err.Code, response.Acked, response.Sent, response.Moving)
	}
}
