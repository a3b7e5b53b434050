package fakeaws

import (
	"fmt"
	"net/http"
)

const putRecordTarget = "Kinesis_20131202.PutRecord"

// single is PutRecord's request.
type single struct {
	StreamName                string
	StreamARN                 string
	Data                      []byte
	PartitionKey              string
	SequenceNumberForOrdering string
}

// numbers are the sequence numbers that a stream gave out. Server.mu guards them.
type numbers struct {
	last  int
	given map[string]bool
	acked map[string]string // by key, of the last record whose reply was whole
}

// putOne answers PutRecord.
func (s *Server) putOne(w http.ResponseWriter, r *http.Request, body []byte, fault Fault) {
	var req single
	if err := Decode(r, body, &req); err != nil {
		(&apiError{status: 400, code: "SerializationException", text: err.Error()}).write(w, r)
		return
	}
	number, refused := s.acceptOne(&req, fault)
	if refused != nil {
		refused.write(w, r)
		return
	}
	if fault.unnamed {
		number = ""
	}
	s.answer(w, r, encode(map[string]string{"SequenceNumber": number, "ShardId": "shardId-000000000000"}), fault)
}

func (s *Server) acceptOne(req *single, fault Fault) (number string, refused *apiError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := &s.numbers
	after := req.SequenceNumberForOrdering
	switch {
	case len(req.Data)+len(req.PartitionKey) > s.maxRecord:
		return "", invalid("'data' failed to satisfy constraint: Member must have length less than or equal to %d", s.maxRecord)
	case after != "" && !n.given[after]:
		return "", &apiError{status: 400, code: "InvalidArgumentException",
			text: "ExclusiveMinimumSequenceNumber " + after + " used in PutRecord is invalid."}
	case after != n.acked[req.PartitionKey]:
		s.t.Errorf("fakeaws: a record of key %q is put after %q, its last acknowledged one is %q", req.PartitionKey, after, n.acked[req.PartitionKey])
	}
	number = n.next()
	if fault.ending == whole && !fault.unnamed {
		n.acked[req.PartitionKey] = number
	}
	s.stored++
	s.records = append(s.records, Record{Stream: req.StreamName + req.StreamARN, Key: req.PartitionKey, Data: req.Data})
	return number, nil
}

// next gives out a number, larger than all before, in the services' width.
func (n *numbers) next() string {
	if n.given == nil {
		n.given, n.acked = make(map[string]bool), make(map[string]string)
	}
	n.last++
	number := fmt.Sprintf("4959%052d", n.last)
	n.given[number] = true
	return number
}

// Recreate makes the stream one that was deleted and made anew: it knows none of its numbers.
func (s *Server) Recreate() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.numbers = numbers{last: s.numbers.last}
}
