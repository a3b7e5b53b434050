package awsclient

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

const (
	// patternLife is the longest time for which requests follow one request of the SDK.
	patternLife = time.Minute
	// mostSkew is the largest difference between the time of a request and of its response with which the pattern is kept. The
	// services reject a difference of 5 minutes.
	mostSkew = time.Minute
)

// Direct sends the requests of one operation without the SDK's middleware, which takes more memory and processor time than
// the rest of a small request. It repeats the URL and the headers of a request of the SDK, with a body and a signature of their
// own.
//
// The SDK decides everything else. It sends the first request, the first one after patternLife, and the one after any response
// that is no success. It evaluates each such response and each error of the connection as if it had sent the request itself: so
// errors, the correction of the clock, and rejected credentials are handled in one place.
type Direct struct {
	client      aws.HTTPClient
	credentials aws.CredentialsProvider
	dropped     func() int // number of providers of credentials dropped so far; nil: unknown
	signer      *v4.Signer
	pattern     atomic.Pointer[pattern]
}

// NewDirect returns a Direct with the HTTP client and the credentials of a client of the SDK.
func NewDirect(client aws.HTTPClient, credentials aws.CredentialsProvider) *Direct {
	d := &Direct{client: client, credentials: credentials, signer: v4.NewSigner()}
	if l, ok := client.(*lease); ok {
		if source, ok := l.of.cfg.Credentials.(*credentialsSource); ok {
			d.dropped = source.dropped
		}
	}
	return d
}

// Protocol encodes an operation's input by itself.
type Protocol interface {
	smithyhttp.ClientProtocol
	// Body returns the body of a request and its content type.
	Body(in smithy.Serializable) (body Body, contentType string)
}

// Body is the body of a request. Its Seek reaches the beginning.
type Body interface {
	io.ReadSeeker
	io.WriterTo
	Len() int // bytes that are left to read
}

// Way is the way in which the SDK completes a request: it sends the request, or evaluates the response to it.
type Way struct {
	Protocol    smithyhttp.ClientProtocol
	Client      aws.HTTPClient
	Credentials aws.CredentialsProvider
}

// Send sends in as a request and decodes a successful response into out. Otherwise it returns the way and the context with which the
// SDK is to complete the request. If Send has sent it, the way sends nothing, but leads to the response or the error that there was.
// The way nil is success.
func (d *Direct) Send(ctx context.Context, p Protocol, op *smithy.OperationSchema, in smithy.Serializable, types *smithy.TypeRegistry, out smithy.Deserializable) (context.Context, *Way) {
	pattern := d.pattern.Load()
	if pattern == nil || time.Since(pattern.since) > patternLife {
		return ctx, &Way{p, learner{d}, d.credentials}
	}
	body, contentType := p.Body(in)
	if pattern.header.Get("Content-Type") != contentType {
		return ctx, &Way{p, learner{d}, d.credentials}
	}
	if d.dropped != nil {
		ctx = context.WithValue(ctx, droppedKey{}, d.dropped())
	}
	req, at, err := d.request(ctx, pattern, body)
	if err != nil { // the SDK finds it too
		d.pattern.CompareAndSwap(pattern, nil)
		return ctx, &Way{p, learner{d}, d.credentials}
	}
	resp, err := d.client.Do(req)
	if err == nil && skewed(resp, at) {
		d.pattern.CompareAndSwap(pattern, nil)
	}
	if err == nil && resp.StatusCode == http.StatusOK && p.DeserializeResponse(ctx, op, types, &smithyhttp.Response{Response: resp}, out) == nil {
		return ctx, nil
	}
	d.pattern.CompareAndSwap(pattern, nil)
	if err == nil {
		resp.Body = rewound(resp.Body)
		ctx = context.WithoutCancel(ctx) // the response counts, even if the time is over by now; nothing below waits
	}
	return ctx, &Way{bare{p}, replay{resp, err}, unused}
}

// request returns a signed request after a pattern, and the time of its signature.
func (d *Direct) request(ctx context.Context, p *pattern, body Body) (*http.Request, time.Time, error) {
	credentials, err := d.credentials.Retrieve(ctx)
	if err != nil {
		return nil, time.Time{}, err
	}
	length := body.Len()
	hash := sha256.New()
	if _, err := body.WriteTo(hash); err != nil {
		return nil, time.Time{}, err
	}
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return nil, time.Time{}, err
	}
	target := p.url
	req := (&http.Request{
		Method: http.MethodPost, URL: &target, Host: p.host, Header: p.header.Clone(),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: io.NopCloser(body), ContentLength: int64(length),
	}).WithContext(ctx)
	at := time.Now().Add(p.ahead)
	err = d.signer.SignHTTP(ctx, credentials, req, hex.EncodeToString(hash.Sum(nil)), p.service, p.region, at)
	return req, at, err
}

// skewed reports whether the time of a request's signature differs from the Date of the response. The SDK's next request corrects
// the time.
func skewed(resp *http.Response, at time.Time) bool {
	date, err := http.ParseTime(resp.Header.Get("Date"))
	return err == nil && date.Sub(at).Abs() > mostSkew
}

// pattern is the part of a request of the SDK that other requests have too.
type pattern struct {
	since           time.Time
	url             url.URL
	host            string
	header          http.Header   // without those of one request
	service, region string        // of the signature
	ahead           time.Duration // of the service's clock, as the SDK knows it
}

// ofOne are the headers that belong to one request.
var ofOne = []string{"Authorization", "X-Amz-Date", "X-Amz-Security-Token", "Content-Length", "Amz-Sdk-Invocation-Id", "Amz-Sdk-Request"}

// patternOf returns the pattern of a request that the SDK has signed, or nil: for example for one without a signature.
func (d *Direct) patternOf(req *http.Request) *pattern {
	now := time.Now()
	signature := req.Header.Get("Authorization")
	_, rest, _ := strings.Cut(signature, "Credential=")
	scope, _, _ := strings.Cut(rest, ",")
	parts := strings.Split(scope, "/") // access key, day, region, service, aws4_request
	at, err := time.Parse("20060102T150405Z", req.Header.Get("X-Amz-Date"))
	if err != nil || len(parts) != 5 || req.Method != http.MethodPost {
		return nil
	}
	p := &pattern{since: now, url: *req.URL, host: req.Host, header: req.Header.Clone(), region: parts[2], service: parts[3]}
	if ahead := at.Sub(now); ahead.Abs() > 2*time.Second { // X-Amz-Date counts seconds
		p.ahead = ahead
	}
	if !d.signsAlike(req, p, at) {
		return nil
	}
	for _, name := range ofOne {
		p.header.Del(name)
	}
	return p
}

// signsAlike reports whether the signer makes the signature that the SDK made for the request.
func (d *Direct) signsAlike(req *http.Request, p *pattern, at time.Time) bool {
	credentials, err := d.credentials.Retrieve(req.Context())
	if err != nil {
		return false
	}
	again := &http.Request{Method: req.Method, URL: new(url.URL), Host: req.Host, Header: req.Header.Clone(), ContentLength: req.ContentLength}
	*again.URL = *req.URL
	again.Header.Del("Authorization")
	err = d.signer.SignHTTP(req.Context(), credentials, again, v4.GetPayloadHash(req.Context()), p.service, p.region, at)
	return err == nil && again.Header.Get("Authorization") == req.Header.Get("Authorization")
}

// learner sends a request of the SDK, and keeps its pattern if the response is a success.
type learner struct{ d *Direct }

func (l learner) Do(req *http.Request) (*http.Response, error) {
	p := l.d.patternOf(req)
	resp, err := l.d.client.Do(req)
	if err == nil && resp.StatusCode == http.StatusOK && p != nil {
		l.d.pattern.Store(p)
	}
	return resp, err
}

// bare is a protocol for requests that are not sent: they need no body.
type bare struct{ smithyhttp.ClientProtocol }

func (bare) SerializeRequest(context.Context, *smithy.OperationSchema, smithy.Serializable, *smithyhttp.Request) error {
	return nil
}

// unused signs requests that are not sent. The real credentials may have to be fetched.
var unused = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: "unused", SecretAccessKey: "unused"}, nil
})

// replay returns the response or the error of a request that Direct has sent.
type replay struct {
	resp *http.Response
	err  error
}

func (r replay) Do(*http.Request) (*http.Response, error) { return r.resp, r.err }

// replyBody is a response's body that was read.
type replyBody struct{ *bytes.Reader }

func (replyBody) Close() error { return nil }

// rewound returns the whole body of a response of wholeReply again.
func rewound(body io.ReadCloser) io.ReadCloser {
	if b, ok := body.(replyBody); ok {
		b.Seek(0, io.SeekStart)
	}
	return body
}
