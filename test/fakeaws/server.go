package fakeaws

import (
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/standpipe/standpipe/shipper/sink"
)

// Record is a record that the server stored.
type Record struct {
	Stream string // the stream's name or ARN, as the request named it
	Key    string // the partition key; empty for Firehose
	Data   []byte
}

// Server is the stand-in.
type Server struct {
	t    testing.TB
	http *httptest.Server
	gone chan struct{} // closed by the test's cleanup

	mu       sync.Mutex
	records  []Record
	stored   int
	requests int
	faults   []Fault
	latency  time.Duration
	forget   bool
	auto     bool
	any      bool

	maxRecord int // bytes, of Kinesis's records
	described int // DescribeStreamSummary requests
	numbers   numbers

	shards []Shard
	listed int // questions for the shards, pages not counted
}

// Start starts a server that ends with the test.
func Start(t testing.TB) *Server {
	s := &Server{t: t, gone: make(chan struct{}), maxRecord: 1 << 20}
	s.http = httptest.NewServer(s)
	t.Cleanup(func() {
		close(s.gone)
		s.http.CloseClientConnections()
		s.http.Close()
	})
	return s
}

// URL is the endpoint of both services.
func (s *Server) URL() string { return s.http.URL }

// Options are those of a destination that writes to the server.
func (s *Server) Options() sink.AWS {
	return sink.AWS{
		Region:      "eu-west-1",
		Endpoint:    s.URL(),
		Credentials: credentials.NewStaticCredentialsProvider("AKIDFAKE", "secret", ""),
	}
}

// FailNext makes the requests to come meet faults, one each, in order.
func (s *Server) FailNext(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, faults...)
}

// SetLatency makes every reply wait for d.
func (s *Server) SetLatency(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latency = d
}

// Forget makes the server count records instead of keeping them, for benchmarks.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget = true
}

// IgnoreKeys makes the streams describe themselves as ones that ignore partition keys, or not.
func (s *Server) IgnoreKeys(auto bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.auto = auto
}

// AnyOrder allows several records of one key in a request.
func (s *Server) AnyOrder() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.any = true
}

func (s *Server) anyOrder() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.any
}

// SetMaxRecord makes Kinesis's streams take records of so many bytes, and say so.
func (s *Server) SetMaxRecord(bytes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.maxRecord = bytes
}

func (s *Server) limit() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.maxRecord
}

// Described returns the number of descriptions of a stream.
func (s *Server) Described() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.described
}

// Records returns the stored records, in order.
func (s *Server) Records() []Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.records)
}

// Stored returns how many records were stored.
func (s *Server) Stored() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stored
}

// Requests returns how many requests were read, answered or not.
func (s *Server) Requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// next counts a request and takes the fault that it meets.
func (s *Server) next() (Fault, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	if len(s.faults) == 0 {
		return Fault{}, s.latency
	}
	f := s.faults[0]
	s.faults = s.faults[1:]
	return f, s.latency
}

func (s *Server) store(records []Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stored += len(records)
	if !s.forget {
		s.records = append(s.records, records...)
	}
}
