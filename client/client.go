package client

import (
	"context"
	"crypto/tls"
	"fmt"
	"math"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
)

// Options configures the connection to an agent. The zero value is for the agent of this host.
type Options struct {
	// TLS is needed where the agent's listener has it. Nil: none.
	TLS *tls.Config
	// Token is sent with each request, as "authorization: Bearer TOKEN". Without TLS it is sent to this
	// host only.
	Token string
	// Credentials, in place of Token, are called at each request and at each stream: for tokens that change. An error
	// that they return counts as UNAVAILABLE: a Publisher calls them again.
	Credentials credentials.PerRPCCredentials
}

const (
	// connectDelay bounds the time between two tries to connect: an agent that starts again is found soon.
	connectDelay = time.Second
	// pingAfter is the time after which an agent that owes a response is probed; pingWait is the time that it has to
	// respond to the probe.
	pingAfter = 30 * time.Second
	pingWait  = 10 * time.Second
	// streamWindow bounds the bytes of a Read that gRPC holds unread, and connWindow those on their way. With fixed windows gRPC does not
	// measure the link: it would send a ping, and the agent its response, for each response of the agent.
	streamWindow = 1 << 20
	connWindow   = 4 << 20
)

// Client sends events to one agent. It may be used by any number of goroutines.
type Client struct {
	conn   *grpc.ClientConn
	ingest standpipev1.IngestClient

	life       context.Context // ends with Close
	end        context.CancelFunc
	publishers sync.WaitGroup
}

// Dial returns a client of the agent at host:port or unix:///path. It does not connect: the first
// request does, and a connection that breaks is made again.
func Dial(address string, o Options) (*Client, error) {
	conn, err := Connect(address, o)
	if err != nil {
		return nil, err
	}
	c := newClient(standpipev1.NewIngestClient(conn))
	c.conn = conn
	return c, nil
}

// Connect is Dial for a program that uses package proto's client itself. It has to close the connection. The further
// options of gRPC come after those of o.
func Connect(address string, o Options, further ...grpc.DialOption) (*grpc.ClientConn, error) {
	if err := o.Check(address); err != nil {
		return nil, err
	}
	name, _, _ := target(address)
	conn, err := grpc.NewClient(name, append(o.dialOptions(), further...)...)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", address, err)
	}
	return conn, nil
}

func newClient(ingest standpipev1.IngestClient) *Client {
	c := &Client{ingest: ingest}
	c.life, c.end = context.WithCancel(context.Background())
	return c
}

// target is gRPC's name of an address; local reports that the traffic does not leave the host.
func target(address string) (name string, local bool, err error) {
	if path, ok := strings.CutPrefix(address, "unix://"); ok && strings.HasPrefix(path, "/") {
		return address, true, nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || port == "" || strings.Contains(port, "/") {
		return "", false, fmt.Errorf("address %q: host:port and unix:///path are allowed", address)
	}
	ip, err := netip.ParseAddr(host)
	return "passthrough:///" + address, host == "localhost" || err == nil && ip.IsLoopback(), nil
}

// Check returns the error that Dial would return: for an invalid address, a token and credentials together, and a
// token that would leave this host unencrypted.
func (o *Options) Check(address string) error {
	_, local, err := target(address)
	switch {
	case err != nil:
		return err
	case o.Credentials != nil && o.Token != "":
		return fmt.Errorf("dial %s: a token and credentials are given; one of them is allowed", address)
	case o.Token != "" && o.TLS == nil && !local:
		return fmt.Errorf("dial %s: a token without TLS is for this host only", address)
	}
	return nil
}

func (o *Options) dialOptions() []grpc.DialOption {
	options := []grpc.DialOption{
		grpc.WithNoProxy(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 2, Jitter: 0.2, MaxDelay: connectDelay},
			MinConnectTimeout: 5 * time.Second,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingAfter, Timeout: pingWait}),
		grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(math.MaxInt32)),
		grpc.WithStaticStreamWindowSize(streamWindow),
		grpc.WithStaticConnWindowSize(connWindow),
	}
	if o.TLS != nil {
		options = append(options, grpc.WithTransportCredentials(credentials.NewTLS(o.TLS)))
	}
	switch {
	case o.Credentials != nil:
		options = append(options, grpc.WithPerRPCCredentials(retried{o.Credentials}))
	case o.Token != "":
		options = append(options, grpc.WithPerRPCCredentials(bearer(o.Token)))
	}
	return options
}

// retried makes an error of credentials one that is worth another try. gRPC would report it as UNAUTHENTICATED,
// which is the agent's word for a token that it has seen.
type retried struct{ credentials.PerRPCCredentials }

func (r retried) GetRequestMetadata(ctx context.Context, uri ...string) (map[string]string, error) {
	md, err := r.PerRPCCredentials.GetRequestMetadata(ctx, uri...)
	if err != nil {
		return nil, status.Errorf(codes.Unavailable, "get credentials: %v", err)
	}
	return md, nil
}

// bearer is a token that stays the same. Where it may be sent was decided by Check.
type bearer string

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

func (bearer) RequireTransportSecurity() bool { return false }

// Close closes the connection. Publishers that are not closed end at once: see ErrClosed. It may be
// called twice.
func (c *Client) Close() error {
	if c.life.Err() != nil {
		return nil
	}
	c.end()
	c.publishers.Wait()
	if c.conn == nil {
		return nil
	}
	return c.conn.Close()
}
