package client_test

import (
	"net"
	"testing"

	"google.golang.org/grpc"

	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/test/testkit"
)

// TestMain starts the agent of the examples, and fails when a goroutine of the package is left after
// all tests.
func TestMain(m *testing.M) { testkit.RunTests(m, "standpipe/client", serveExamples()) }

// serveExamples lets the examples find an agent.
func serveExamples() (stop func()) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	address = l.Addr().String()
	s := grpc.NewServer()
	standpipev1.RegisterIngestServer(s, &fakeServer{agent: newFakeAgent()})
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Serve(l)
	}()
	return func() { s.Stop(); <-done }
}
