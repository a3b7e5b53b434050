package client_test

import (
	"fmt"
	"net"
	"os"
	"testing"

	"google.golang.org/grpc"

	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/test/testkit"
)

// TestMain starts the agent of the examples, and fails when a goroutine of the package is left after
// all tests.
func TestMain(m *testing.M) {
	stop := serveExamples()
	code := m.Run()
	stop()
	if left := testkit.GoroutinesLeft("standpipe/client"); code == 0 && left != "" {
		fmt.Fprintf(os.Stderr, "goroutines are left:\n%s\n", left)
		code = 1
	}
	os.Exit(code)
}

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
