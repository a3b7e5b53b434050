// Package fakes3 is a stand-in for Amazon S3. Tests drive it through the real SDK over a loopback connection.
//
// # Contract
//
// It implements PutObject and CompleteMultipartUpload with If-None-Match, CreateMultipartUpload, UploadPart,
// AbortMultipartUpload, ListMultipartUploads, HeadObject and GetObject, in path style. Faults apply to single requests: Fail
// is called for each of them and decides.
//
// # Limits
//
// It implements the documentation as the authors of the tested code read it. Signatures and checksums are not checked.
// Parts may have any size.
package fakes3

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Request is a request as Fail sees it.
type Request struct {
	N         int    // counts from 1
	Operation string // of the API, like PutObject
	Key       string
}

// Fault is the failure of one request. The zero Fault is none.
type Fault struct {
	Status int    // of the error; 0: none
	Code   string // of the error
	Cut    bool   // the connection is closed without a response
	Done   bool   // the request has its effect before it fails
	Late   int    // the request has its effect after so many other requests, after its failure
	Hang   bool   // there is no response until the client ends the request
	Gone   func() // called before the failure, for example to end the client
}

// Server is the stand-in.
type Server struct {
	URL        string
	Fail       func(Request) Fault // nil: no faults; set before the first request
	Overwrites bool                // ignores If-None-Match, as some services do

	mu      sync.Mutex
	n       int
	objects map[string]Object
	uploads map[string]*multipart
	late    []late
}

// Object is a stored object.
type Object struct {
	Body     []byte
	Metadata map[string]string
	Header   http.Header // of the request that began it
}

type multipart struct {
	key    string
	parts  map[int][]byte
	header http.Header
}

type late struct {
	after  int // number of the request
	effect func()
}

// Start starts a server that the end of the test stops.
func Start(t testing.TB) *Server {
	s := &Server{objects: make(map[string]Object), uploads: make(map[string]*multipart)}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

// Objects returns the stored objects by their keys, without the bucket.
func (s *Server) Objects() map[string]Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.objects)
}

// Put stores an object as another writer would.
func (s *Server) Put(key string, o Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[key] = o
}

// Uploads returns the keys of the unfinished uploads.
func (s *Server) Uploads() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []string
	for _, u := range s.uploads {
		keys = append(keys, u.key)
	}
	slices.Sort(keys)
	return keys
}

// Begin begins an upload as another writer would.
func (s *Server) Begin(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.uploads["other-"+key] = &multipart{key: key}
}

// AbortAll aborts all uploads, as a lifecycle rule does.
func (s *Server) AbortAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.uploads)
}

// Settle has the effects of all late requests now.
func (s *Server) Settle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.late {
		l.effect()
	}
	s.late = nil
}

// Requests returns the number of requests so far.
func (s *Server) Requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}

// ServeHTTP serves one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	_, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	request := Request{Operation: operation(r), Key: key}
	s.mu.Lock()
	s.n++
	request.N = s.n
	s.late = slices.DeleteFunc(s.late, func(l late) bool {
		if l.after > s.n {
			return false
		}
		l.effect()
		return true
	})
	s.mu.Unlock()
	var fault Fault
	if s.Fail != nil {
		fault = s.Fail(request)
	}
	effect := func() reply { return s.do(request, r, body) }
	if fault.Late > 0 {
		s.mu.Lock()
		s.late = append(s.late, late{request.N + fault.Late, func() { effect() }})
		s.mu.Unlock()
	}
	failed := fault.Cut || fault.Hang || fault.Status > 0
	var answer reply
	if !failed || fault.Done {
		s.mu.Lock()
		answer = effect()
		s.mu.Unlock()
	}
	if fault.Gone != nil {
		fault.Gone()
	}
	if fault.Hang {
		<-r.Context().Done()
	}
	switch {
	case fault.Cut, fault.Hang:
		panic(http.ErrAbortHandler)
	case failed:
		answer = refuse(fault.Status, fault.Code)
	}
	for name, value := range answer.header {
		w.Header().Set(name, value)
	}
	w.WriteHeader(answer.status)
	if r.Method != http.MethodHead {
		w.Write(answer.body)
	}
}

func operation(r *http.Request) string {
	q := r.URL.Query()
	switch {
	case r.Method == http.MethodPut && q.Has("partNumber"):
		return "UploadPart"
	case r.Method == http.MethodPut:
		return "PutObject"
	case r.Method == http.MethodPost && q.Has("uploads"):
		return "CreateMultipartUpload"
	case r.Method == http.MethodPost:
		return "CompleteMultipartUpload"
	case r.Method == http.MethodDelete && q.Has("uploadId"):
		return "AbortMultipartUpload"
	case r.Method == http.MethodHead:
		return "HeadObject"
	case q.Has("uploads"):
		return "ListMultipartUploads"
	}
	return "GetObject"
}

type reply struct {
	status int
	header map[string]string
	body   []byte
}

func refuse(status int, code string) reply {
	return reply{status: status, body: fmt.Appendf(nil, "<Error><Code>%s</Code><Message>no</Message></Error>", code)}
}

// do has the effect of a request. s.mu is held.
func (s *Server) do(request Request, r *http.Request, body []byte) reply {
	q, key := r.URL.Query(), request.Key
	upload := s.uploads[q.Get("uploadId")]
	_, exists := s.objects[key]
	onlyNew := r.Header.Get("If-None-Match") == "*"
	etag := map[string]string{"ETag": `"tag"`}
	switch request.Operation {
	case "PutObject":
		if exists && onlyNew && !s.Overwrites {
			return refuse(412, "PreconditionFailed")
		}
		s.objects[key] = Object{unchunk(r, body), metadata(r.Header), r.Header}
		return reply{status: 200, header: etag}
	case "CreateMultipartUpload":
		id := fmt.Sprint("upload-", s.n)
		s.uploads[id] = &multipart{key, make(map[int][]byte), r.Header}
		return reply{status: 200, body: fmt.Appendf(nil, "<InitiateMultipartUploadResult><UploadId>%s</UploadId></InitiateMultipartUploadResult>", id)}
	case "HeadObject", "GetObject":
		if !exists {
			return refuse(404, "NoSuchKey")
		}
		o := s.objects[key]
		header := map[string]string{"Content-Length": strconv.Itoa(len(o.Body))}
		for name, value := range o.Metadata {
			header["X-Amz-Meta-"+name] = value
		}
		return reply{200, header, o.Body}
	case "ListMultipartUploads":
		return reply{status: 200, body: s.list(q.Get("prefix"))}
	}
	if upload == nil {
		return refuse(404, "NoSuchUpload")
	}
	switch request.Operation {
	case "UploadPart":
		if r.Header.Get("X-Amz-Checksum-Crc32") != "" && upload.header.Get("X-Amz-Checksum-Algorithm") != "CRC32" {
			return refuse(400, "InvalidRequest") // the algorithm has to be that of the upload
		}
		number, _ := strconv.Atoi(q.Get("partNumber"))
		upload.parts[number] = unchunk(r, body)
		return reply{status: 200, header: etag}
	case "AbortMultipartUpload":
		delete(s.uploads, q.Get("uploadId"))
		return reply{status: 204}
	}
	if exists && onlyNew && !s.Overwrites {
		return refuse(412, "PreconditionFailed")
	}
	var all []byte
	for _, number := range slices.Sorted(maps.Keys(upload.parts)) {
		all = append(all, upload.parts[number]...)
	}
	s.objects[key] = Object{all, metadata(upload.header), upload.header}
	delete(s.uploads, q.Get("uploadId"))
	return reply{status: 200, body: []byte("<CompleteMultipartUploadResult><ETag>tag</ETag></CompleteMultipartUploadResult>")}
}

func (s *Server) list(prefix string) []byte {
	type upload struct{ Key, UploadId string }
	var result struct {
		XMLName xml.Name `xml:"ListMultipartUploadsResult"`
		Upload  []upload
	}
	for _, id := range slices.Sorted(maps.Keys(s.uploads)) {
		if key := s.uploads[id].key; strings.HasPrefix(key, prefix) {
			result.Upload = append(result.Upload, upload{key, id})
		}
	}
	body, err := xml.Marshal(result)
	if err != nil {
		panic(err)
	}
	return body
}

func metadata(h http.Header) map[string]string {
	all := make(map[string]string)
	for name, values := range h {
		if name, ok := strings.CutPrefix(strings.ToLower(name), "x-amz-meta-"); ok {
			all[name] = values[0]
		}
	}
	return all
}

// unchunk removes the framing of the encoding aws-chunked, if the body has it.
func unchunk(r *http.Request, body []byte) []byte {
	if !strings.Contains(r.Header.Get("Content-Encoding"), "aws-chunked") {
		return body
	}
	var all []byte
	for {
		line, rest, ok := bytes.Cut(body, []byte("\r\n"))
		size, _, _ := strings.Cut(string(line), ";")
		n, err := strconv.ParseInt(size, 16, 64)
		if !ok || err != nil || n == 0 || int(n) > len(rest) {
			return all
		}
		all = append(all, rest[:n]...)
		body = bytes.TrimPrefix(rest[n:], []byte("\r\n"))
	}
}
