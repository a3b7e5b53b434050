package access

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Files are the PEM files of a listener's TLS.
type Files struct {
	Cert, Key string
	ClientCA  string // empty: no client certificates
}

// Certificate is a listener's certificate, and the authorities that verify client certificates.
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
	conf, err := f.read(nil)
	if err != nil {
		return nil, err
	}
	c.current.Store(conf)
	c.logUsed(conf)
	return c, nil
}

// TLS returns the configuration of a listener. Each handshake uses the current files. The minimum version is TLS 1.2.
func (c *Certificate) TLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			c.look(false)
			return c.current.Load(), nil
		},
	}
}

// Refresh checks the files now.
func (c *Certificate) Refresh() { c.look(true) }

// Expiry returns the file of the current certificate, and the time at which it expires.
func (c *Certificate) Expiry() (file string, expires time.Time) {
	return c.files.Cert, c.current.Load().Certificates[0].Leaf.NotAfter
}

func (c *Certificate) look(must bool) {
	if !c.sources.changed(time.Now(), must) {
		return
	}
	before := c.current.Load()
	conf, err := c.files.read(before)
	for !c.current.CompareAndSwap(before, conf) { // another look has ended meanwhile, and may have read newer files
		before = c.current.Load()
		conf, err = c.files.read(before)
	}
	if trustsNone(conf.ClientCAs) && !trustsNone(before.ClientCAs) {
		c.logger.Warn("client CA file is empty or gone; no client certificate is accepted", "file", c.files.ClientCA)
	}
	if err != nil {
		c.logger.Error("a changed certificate can't be used; the one before stays in force", "error", err)
		return
	}
	c.logUsed(conf)
}

// logUsed logs that the configuration is in use, and what may be wrong with it.
func (c *Certificate) logUsed(conf *tls.Config) {
	leaf, now := conf.Certificates[0].Leaf, time.Now()
	log, what := c.logger.Info, "certificate read"
	switch {
	case now.After(leaf.NotAfter):
		log, what = c.logger.Warn, "a certificate has expired; clients will reject it"
	case now.Before(leaf.NotBefore):
		log, what = c.logger.Warn, "a certificate is not valid yet; clients will reject it"
	}
	log(what, "file", c.files.Cert, "subject", leaf.Subject, "not_before", leaf.NotBefore, "not_after", leaf.NotAfter)
	if info, err := os.Stat(c.files.Key); err == nil && isOpen(info) {
		warnOpen(c.logger, "key", c.files.Key)
	}
}

// read returns the configuration that the files define. An unusable part keeps its value from before, and the error
// states why; if before is nil, read returns no configuration then. The pair of certificate and key is one part, the
// authorities are the other: a revoked authority does not wait for a key.
func (f Files) read(before *tls.Config) (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	pair, pairErr := tls.LoadX509KeyPair(f.Cert, f.Key)
	if pairErr != nil {
		pairErr = fmt.Errorf("read certificate %s and key %s: %w", f.Cert, f.Key, pairErr)
	}
	pool, poolErr := f.authorities(before != nil)
	if err := errors.Join(pairErr, poolErr); err != nil && before == nil {
		return nil, err
	}
	conf.Certificates = []tls.Certificate{pair}
	if pairErr != nil {
		conf.Certificates = before.Certificates
	}
	if f.ClientCA == "" {
		return conf, pairErr
	}
	conf.ClientCAs = pool
	if poolErr != nil {
		conf.ClientCAs = before.ClientCAs
	}
	conf.ClientAuth = tls.RequireAndVerifyClientCert
	// A resumed session would rely on the verification by an authority that may have been removed since.
	conf.SessionTicketsDisabled = true
	return conf, errors.Join(pairErr, poolErr)
}

// authorities reads the client CA file. With mayBeGone, an empty or missing file is an empty pool, which trusts no client.
func (f Files) authorities(mayBeGone bool) (*x509.CertPool, error) {
	if f.ClientCA == "" {
		return nil, nil
	}
	pool, err := readPool(f.ClientCA)
	if mayBeGone && isGone(err) {
		time.Sleep(rewriteTime)
		pool, err = readPool(f.ClientCA)
	}
	if err != nil && !(mayBeGone && isGone(err)) {
		return nil, fmt.Errorf("read client CA %s: %w", f.ClientCA, err)
	}
	return pool, nil
}

// readPool reads certificates. Beside an error the pool is empty.
func readPool(path string) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	text, err := os.ReadFile(path)
	switch {
	case err != nil:
		return pool, err
	case pool.AppendCertsFromPEM(text):
		return pool, nil
	case bytes.Contains(text, []byte("-----BEGIN")):
		return pool, errors.New("it has no certificate that can be read")
	}
	return pool, errEmpty
}

// trustsNone reports whether no client certificate is trusted.
func trustsNone(pool *x509.CertPool) bool { return pool != nil && pool.Equal(x509.NewCertPool()) }
