package fakeaws

import (
	"bytes"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink/sinktest"
)

// Target returns s, a sink that writes to the server, as a target of the sinks' conformance suite. The last three
// entries of LoseResponse need a response with a list of results.
func (s *Server) Target(to shipper.Sink) sinktest.Target {
	next := func(f Fault) func() { return func() { s.FailNext(f) } }
	return sinktest.Target{
		Sink:   to,
		Stored: s.data,
		FailRecords: func(indexes ...int) {
			s.FailNext(FailRecords("InternalFailure", "sorry", indexes...))
		},
		FailRequest: []func(){
			next(Throttle()),
			next(Refuse(500, "InternalFailure", "sorry")),
			next(RefuseEarly(413, "RequestEntityTooLarge", "too much")),
			next(CutBefore()),
		},
		LoseResponse: []func(){
			next(CutWithin()),
			next(Garbage()),
			next(Blank()),
			next(Unnamed()),
			next(MoreResults(1)),
			next(MoreResults(-1)),
			next(Miscount(1)),
		},
		Hang: func(arrived func()) { s.FailNext(Hang(arrived)) },
		Deny: next(Refuse(400, "UnrecognizedClientException", "The security token included in the request is invalid.")),
	}
}

// data returns the stored bytes in order.
func (s *Server) data() []byte {
	var b bytes.Buffer
	for _, r := range s.Records() {
		b.Write(r.Data)
	}
	return b.Bytes()
}
