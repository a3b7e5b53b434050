package fakeaws

import (
	"io"
	"net/http"
	"strconv"
	"time"
)

// ServeHTTP answers PutRecords, PutRecord, PutRecordBatch and, apart from faults and counts,
// DescribeStreamSummary and ListShards.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("X-Amz-Target") == describeTarget {
		s.describe(w)
		return
	}
	if r.Header.Get("X-Amz-Target") == listTarget {
		s.list(w, r)
		return
	}
	fault, latency := s.next()
	if fault.early {
		fault.refuse.write(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client is gone
	}
	s.wait(r, latency)
	switch {
	case fault.refuse != nil:
		fault.refuse.write(w, r)
	case fault.ending == cutBefore:
		panic(http.ErrAbortHandler)
	default:
		s.put(w, r, body, fault)
	}
}

const describeTarget = "Kinesis_20131202.DescribeStreamSummary"

func (s *Server) describe(w http.ResponseWriter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.described++
	strategy := "USER_PARTITION_KEY"
	if s.auto {
		strategy = "AUTO"
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.Write(encode(map[string]any{"StreamDescriptionSummary": map[string]any{
		"MaxRecordSizeInKiB":         s.maxRecord >> 10,
		"RecordDistributionStrategy": strategy,
	}}))
}

func (s *Server) put(w http.ResponseWriter, r *http.Request, body []byte, fault Fault) {
	target := r.Header.Get("X-Amz-Target")
	if target == putRecordTarget {
		s.putOne(w, r, body, fault)
		return
	}
	svc, ok := services[target]
	if !ok {
		(&apiError{status: 400, code: "UnknownOperationException", text: target}).write(w, r)
		return
	}
	var req request
	if err := Decode(r, body, &req); err != nil {
		(&apiError{status: 400, code: "SerializationException", text: err.Error()}).write(w, r)
		return
	}
	if svc.keys {
		svc.maxRecord = s.limit()
	}
	if refused := svc.check(&req); refused != nil {
		refused.write(w, r)
		return
	}
	s.checkKeys(&req, svc)
	reply := s.accept(&req, svc, fault)
	s.answer(w, r, reply, fault)
}

// accept stores the records that don't meet the fault and returns the reply.
func (s *Server) accept(req *request, svc service, fault Fault) []byte {
	var results []map[string]string
	var stored []Record
	failed := 0
	for i, r := range req.Records {
		if fault.fails(i) {
			failed++
			results = append(results, map[string]string{
				"ErrorCode": fault.failure.code, "ErrorMessage": fault.failure.text})
			continue
		}
		stored = append(stored, Record{Stream: req.stream(), Key: r.PartitionKey, Data: r.Data})
		if results = append(results, svc.stored(i)); fault.unnamed {
			results[i] = map[string]string{}
		}
	}
	s.store(stored)
	for ; fault.results > 0; fault.results-- {
		results = append(results, svc.stored(0))
	}
	results = results[:len(results)+fault.results]
	return svc.reply(results, failed+fault.hidden)
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request, reply []byte, fault Fault) {
	reply = inFormat(w, r, reply)
	switch fault.ending {
	case silent:
		if fault.arrived != nil {
			fault.arrived()
		}
		s.waitUntilGone(r)
		panic(http.ErrAbortHandler)
	case garbage:
		reply = []byte(fault.garbage)
	case blank:
		reply = nil
	case cutWithin:
		w.Header().Set("Content-Length", strconv.Itoa(len(reply)))
		w.Write(reply[:len(reply)/2])
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	w.Write(reply)
}

func (s *Server) wait(r *http.Request, d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-time.After(d):
	case <-r.Context().Done():
	case <-s.gone:
	}
}

func (s *Server) waitUntilGone(r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-s.gone:
	}
}

// checkKeys fails the test for two records of one key in a request.
func (s *Server) checkKeys(req *request, svc service) {
	if s.anyOrder() {
		return
	}
	seen := map[string]int{}
	for i, r := range req.Records {
		if first, twice := seen[r.PartitionKey]; twice && svc.keys {
			s.t.Errorf("fakeaws: records %d and %d of one request have the key %q", first, i, r.PartitionKey)
		}
		seen[r.PartitionKey] = i
	}
}

// apiError is an error of the service.
type apiError struct {
	status int
	code   string
	text   string
	wait   int64 // seconds
}

func (e *apiError) write(w http.ResponseWriter, r *http.Request) {
	body := Encode(w, r, map[string]string{"__type": e.code, "message": e.text})
	if e.wait > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(e.wait, 10))
	}
	w.WriteHeader(e.status)
	w.Write(body)
}
