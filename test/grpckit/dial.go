// Package grpckit lets the tests of several packages talk to a gRPC server. It is not part of testkit because
// the tests of the log import that, and need no gRPC. Only tests import it.
package grpckit

import (
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// Dial returns a connection without TLS to host:port or unix:///path, and closes it when the test ends. Later options
// overrule the ones before.
func Dial(t testing.TB, target string, more ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	options := append([]grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}, more...)
	conn, err := grpc.NewClient(target, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// Target returns the target of a listener's address.
func Target(at net.Addr) string {
	if at.Network() == "unix" {
		return "unix://" + at.String()
	}
	return at.String()
}
