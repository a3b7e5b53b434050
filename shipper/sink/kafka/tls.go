package kafka

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"sync"

	"github.com/standpipe/standpipe/shipper/sink/internal/dial"
)

// TLS is the TLS of the connections. Its files are read for each connection, so a changed file applies to the next one.
type TLS struct {
	CAFile            string // "": the system's CAs
	CertFile, KeyFile string // "": no client certificate
	ServerName        string // "": the broker's host
}

// config reads the files.
func (t *TLS) config() (*tls.Config, error) {
	c, _, err := t.read()
	return c, err
}

// read reads the files, and returns the hash of their contents too.
func (t *TLS) read() (*tls.Config, [sha256.Size]byte, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	var all []byte
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, [sha256.Size]byte{}, fmt.Errorf("read certificates: %w", err)
		}
		all = append(all, pem...)
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, [sha256.Size]byte{}, fmt.Errorf("read certificates: %s holds none in its %d bytes", t.CAFile, len(pem))
		}
	}
	if t.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, [sha256.Size]byte{}, fmt.Errorf("read certificate: %w", err)
		}
		for _, der := range pair.Certificate {
			all = append(all, der...)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, sha256.Sum256(all), nil
}

// secureDialer connects to brokers with TLS.
type secureDialer struct {
	tls *TLS
	tcp dial.Dialer

	mu       sync.Mutex
	files    [sha256.Size]byte      // hash of the files that sessions were opened with; guarded by mu
	sessions tls.ClientSessionCache // guarded by mu
}

// dial connects to a broker. It resumes a session unless the files of TLS have changed since.
func (d *secureDialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conf, files, err := d.tls.read()
	if err != nil {
		return nil, &credentialsError{err}
	}
	conf.ClientSessionCache = d.sessionsFor(files)
	if conf.ServerName == "" {
		if conf.ServerName, _, err = net.SplitHostPort(address); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, dial.Timeout)
	defer cancel()
	tcp, err := d.tcp.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c := tls.Client(tcp, conf)
	if err := c.HandshakeContext(ctx); err != nil {
		tcp.Close()
		return nil, err
	}
	return c, nil
}

func (d *secureDialer) sessionsFor(files [sha256.Size]byte) tls.ClientSessionCache {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sessions == nil || d.files != files {
		d.files, d.sessions = files, dial.Sessions()
	}
	return d.sessions
}
