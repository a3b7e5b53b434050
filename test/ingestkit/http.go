package ingestkit

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/standpipe/standpipe/agent/ingest"
)

// Web is an HTTP client of one listener.
type Web struct {
	T      *testing.T
	Server *ingest.Server

	client *http.Client
}

// ServeHTTP starts an HTTP listener and returns a client of it.
func ServeHTTP(t *testing.T, o ingest.Options) *Web {
	t.Helper()
	o.Type = ingest.HTTP
	s := Serve(t, o)
	at := s.Addr()
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return net.Dial(at.Network(), at.String())
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &Web{T: t, Server: s, client: &http.Client{Transport: transport}}
}

// Response is a response with the fields of its JSON body.
type Response struct {
	Status           int         `json:"-"`
	Header           http.Header `json:"-"`
	Body             string      `json:"-"`
	Offset           uint64
	Count            int
	Duplicate        bool
	Ack, Error, Code string
	Event, Line      int
	RetryAfter       string `json:"retry_after"`
}

// Do sends a request whose headers are given as "Name: value".
func (w *Web) Do(method, path, body string, headers ...string) Response {
	w.T.Helper()
	r, err := http.NewRequestWithContext(w.T.Context(), method, "http://standpipe"+path, strings.NewReader(body))
	if err != nil {
		w.T.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	got, err := w.client.Do(r)
	if err != nil {
		w.T.Fatal(err)
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		w.T.Fatal(err)
	}
	a := Response{Status: got.StatusCode, Header: got.Header, Body: string(text), Event: -1}
	if len(text) > 0 && got.Header.Get("Content-Type") == "application/json" && path != "/v1/logs" {
		if err := json.Unmarshal(text, &a); err != nil {
			w.T.Fatalf("%s %s: %v in %q", method, path, err, text)
		}
	}
	return a
}

// Post sends a body to a stream; path is its name and the query.
func (w *Web) Post(path, body string, headers ...string) Response {
	w.T.Helper()
	return w.Do("POST", "/v1/streams/"+path, body, headers...)
}

// Lines is the header of a body with one event a line.
const Lines = "Content-Type: application/x-ndjson"

// Compress compresses text with a content coding.
func Compress(t *testing.T, coding, text string) string {
	t.Helper()
	var b bytes.Buffer
	var to io.WriteCloser = gzip.NewWriter(&b)
	if coding == "zstd" {
		to, _ = zstd.NewWriter(&b)
	}
	io.WriteString(to, text)
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Raw opens a connection and writes text.
func (w *Web) Raw(text string) net.Conn {
	w.T.Helper()
	conn, err := net.Dial(w.Server.Addr().Network(), w.Server.Addr().String())
	if err != nil {
		w.T.Fatal(err)
	}
	w.T.Cleanup(func() { conn.Close() })
	io.WriteString(conn, text)
	return conn
}

// StatusOn returns the status of the response on a connection, or 0 when it is closed without one.
func StatusOn(t *testing.T, conn net.Conn) int {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(time.Minute))
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
			t.Fatal("the listener neither answers nor closes the connection")
		}
		return 0
	}
	r.Body.Close()
	return r.StatusCode
}

// Head is the head of a request, without the length of its body and the empty line.
const Head = "POST /v1/streams/text?key=k HTTP/1.1\r\nHost: x\r\n"
