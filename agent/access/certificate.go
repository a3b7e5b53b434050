package access

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Files name what a listener's TLS is made of, in PEM.
type Files struct {
	Cert, Key string
	ClientCA  string // empty: producers are not asked for a certificate
}

// Certificate is what a listener shows, and by what it verifies those of producers.
type Certificate struct {
	files   Files
	sources *sources
	logger  hclog.Logger
	current atomic.Pointer[tls.Config]
}

// OpenCertificate reads the files.
func OpenCertificate(f Files, logger hclog.Logger) (*Certificate, error) {
	paths := []string{f.Cert, f.Key}
	if f.ClientCA != "" {
		paths = append(paths, f.ClientCA)
	}
	c := &Certificate{files: f, sources: newSources(paths...), logger: logger}
	conf, err := f.read()
	if err != nil {
		return nil, err
	}
	c.use(conf)
	return c, nil
}

// TLS is the configuration of a listener. Each handshake gets the certificate as it is then. The oldest
// version that is spoken is TLS 1.2.
func (c *Certificate) TLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			c.look(false)
			return c.current.Load(), nil
		},
	}
}

// Refresh looks at the files now.
func (c *Certificate) Refresh() { c.look(true) }

func (c *Certificate) look(must bool) {
	if !c.sources.changed(time.Now(), must) {
		return
	}
	conf, err := c.files.read()
	if err != nil {
		c.logger.Error("a changed certificate can't be used; the one before stays in force", "error", err)
		return
	}
	c.use(conf)
}

func (c *Certificate) use(conf *tls.Config) {
	c.current.Store(conf)
	leaf, now := conf.Certificates[0].Leaf, time.Now()
	log, what := c.logger.Info, "certificate read"
	switch {
	case now.After(leaf.NotAfter):
		log, what = c.logger.Warn, "a certificate has expired; nobody will trust it"
	case now.Before(leaf.NotBefore):
		log, what = c.logger.Warn, "a certificate is not valid yet; nobody will trust it before that"
	}
	log(what, "file", c.files.Cert, "subject", leaf.Subject, "not_before", leaf.NotBefore, "not_after", leaf.NotAfter)
	if info, err := os.Stat(c.files.Key); err == nil && isOpen(info) {
		sayOpen(c.logger, "key", c.files.Key)
	}
}

func (f Files) read() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return nil, fmt.Errorf("read certificate %s and key %s: %w", f.Cert, f.Key, err)
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if f.ClientCA == "" {
		return conf, nil
	}
	if conf.ClientCAs, err = authorities(f.ClientCA); err != nil {
		return nil, fmt.Errorf("read client CA %s: %w", f.ClientCA, err)
	}
	conf.ClientAuth = tls.RequireAndVerifyClientCert
	// A resumed session would go on with what an authority had verified that may be gone since.
	conf.SessionTicketsDisabled = true
	return conf, nil
}

func authorities(path string) (*x509.CertPool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, errors.New("it has no certificate")
	}
	return pool, nil
}
