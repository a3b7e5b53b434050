package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
)

// TLS is the TLS of the connections. Its files are read for each connection, so a changed file applies to the next one.
type TLS struct {
	CAFile            string // "": the system's CAs
	CertFile, KeyFile string // "": no client certificate
	ServerName        string // "": the broker's host
}

// config reads the files.
func (t *TLS) config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read certificates: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read certificates: %s holds none in its %d bytes", t.CAFile, len(pem))
		}
	}
	if t.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("read certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// dial connects to a broker.
func (t *TLS) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := t.config()
	if err != nil {
		return nil, &credentialsError{err}
	}
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: dialTimeout}, Config: c}
	return d.DialContext(ctx, network, address)
}
