package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// ingestDoor is a gRPC listener and what it wants to see.
type ingestDoor struct {
	address   string
	tls       bool
	caFile    string // "": the system's
	certFile  string
	keyFile   string
	tokenFile string
}

func (d *ingestDoor) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&d.address, "address", defaultIngestAddress, "the gRPC listener: `host:port` or unix:///path")
	f.BoolVar(&d.tls, "tls", false, "the listener speaks TLS")
	f.StringVar(&d.caFile, "ca-file", "", "trust the certificates in this PEM `file` (default: the system's); means --tls")
	f.StringVar(&d.certFile, "cert-file", "", "show the certificate in this PEM `file`; means --tls")
	f.StringVar(&d.keyFile, "key-file", "", "the key of --cert-file, a PEM `file`")
	f.StringVar(&d.tokenFile, "token-file", "", "show the token that this `file` holds")
	c.MarkFlagsRequiredTogether("cert-file", "key-file")
}

// dial connects to the listener that was named, whatever proxy the environment speaks of.
func (d *ingestDoor) dial() (*grpc.ClientConn, error) {
	network, target, err := parseAddress(d.address)
	if err != nil {
		return nil, &exitError{code: exitUsage, err: err}
	}
	secure, err := d.credentials(network, target)
	if err != nil {
		return nil, err
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(secure),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, target)
		}),
	}
	if d.tokenFile != "" {
		text, err := os.ReadFile(d.tokenFile)
		if err != nil {
			return nil, fmt.Errorf("read token: %w", err)
		}
		options = append(options, grpc.WithPerRPCCredentials(bearer(bytes.TrimSpace(text))))
	}
	return grpc.NewClient("passthrough:///standpipe", options...)
}

func (d *ingestDoor) credentials(network, target string) (credentials.TransportCredentials, error) {
	if !d.tls && d.caFile == "" && d.certFile == "" {
		return insecure.NewCredentials(), nil
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: "localhost"}
	if network == "tcp" {
		conf.ServerName, _, _ = net.SplitHostPort(target)
	}
	if d.caFile != "" {
		pem, err := os.ReadFile(d.caFile)
		if err != nil {
			return nil, fmt.Errorf("read certificates: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read certificates: %s holds none, of %d bytes", d.caFile, len(pem))
		}
	}
	if d.certFile != "" {
		pair, err := tls.LoadX509KeyPair(d.certFile, d.keyFile)
		if err != nil {
			return nil, fmt.Errorf("read certificate: %w", err)
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	return credentials.NewTLS(conf), nil
}

// bearer shows a token with every request.
type bearer string

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

// RequireTransportSecurity is false: a listener without TLS is on this host.
func (bearer) RequireTransportSecurity() bool { return false }
