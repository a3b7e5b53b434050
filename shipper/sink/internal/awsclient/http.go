package awsclient

import (
	"bytes"
	"fmt"
	"io"
	"net/http"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"

	"github.com/standpipe/standpipe/shipper/sink/internal/dial"
)

// maxReply bounds the bytes of a response: 500 results with their texts are below 200 KiB.
const maxReply = 16 << 20

// wholeReply is the HTTP client under the SDK. It returns a response only once all of it has been read, and hides the
// request body's WriteTo.
//
// Both prevent acknowledged records from being sent twice. The SDK (smithy-go v1.28.8, ClientHandler) closes the
// request's body as soon as the response's header has arrived. At that time net/http's writer may not be done: having
// written everything, it probes the body for more bytes than its Content-Length, with io.Copy, which prefers WriteTo.
// WriteTo of the SDK's closed body returns io.EOF, which is an error there, while Read's io.EOF is none. On that error
// net/http closes the connection while the SDK is reading the response. The SDK then returns "deserialization failed
// ... use of closed network connection", although the records are stored. A fast service on a loaded host hit that
// window in up to one of 200 large requests.
type wholeReply struct{ client *http.Client }

// newWholeReply returns a wholeReply over its own transport, which is configured as c's is but for the connections: they are
// those of package dial, and TLS sessions are resumed.
func newWholeReply(c *awshttp.BuildableClient) wholeReply {
	transport := c.GetTransport()
	transport.DialContext = new(dial.Dialer).DialContext
	transport.TLSClientConfig.ClientSessionCache = dial.Sessions()
	return wholeReply{&http.Client{Transport: transport, CheckRedirect: noRedirect}}
}

// noRedirect makes the client return a redirect as the response: these services never redirect, so it comes from
// something else.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func (w wholeReply) Do(req *http.Request) (*http.Response, error) {
	up, _ := req.Context().Value(uploadKey{}).(*Upload)
	ctx := req.Context()
	if up != nil {
		var end func()
		ctx, end = up.begin(ctx, req.ContentLength)
		defer end()
	}
	req = req.WithContext(ctx) // a copy: the SDK closes the body of its own request
	if req.Body != nil {
		req.Body = onlyReader{req.Body, up}
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return resp, tooSlow(ctx, err)
	}
	up.answered() // before the connection is another request's
	body, err := readReply(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("read reply %d: %w", resp.StatusCode, err)
	}
	resp.Body = replyBody{bytes.NewReader(body)}
	return resp, nil
}

func readReply(r io.ReadCloser) ([]byte, error) {
	defer r.Close()
	body, err := io.ReadAll(io.LimitReader(r, maxReply+1))
	if err == nil && len(body) > maxReply {
		return nil, fmt.Errorf("more than %d bytes", maxReply)
	}
	return body, err
}

// onlyReader has Read and Close only. It counts the bytes that go out.
type onlyReader struct {
	rc io.ReadCloser
	up *Upload // nil: not counted
}

func (r onlyReader) Read(p []byte) (int, error) {
	n, err := r.rc.Read(p)
	if r.up != nil {
		r.up.Sent.Add(int64(n))
	}
	return n, err
}

func (r onlyReader) Close() error { return r.rc.Close() }
