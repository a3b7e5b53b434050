package relay

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/standpipe/standpipe/client"
	"github.com/standpipe/standpipe/shipper/sink/internal/dial"
)

// credentials returns the TLS and the token of the connection. Their files are read now, so that a fault is found, and again
// later: the token for each request, the certificates for each connection.
func (o *Options) credentials() (c client.Options, err error) {
	if o.TLS != nil {
		if c.TLS, err = o.TLS.config(o.Address); err != nil {
			return c, err
		}
	}
	if o.TokenFile == "" {
		return c, nil
	}
	token, err := readToken(o.TokenFile)
	if err != nil {
		return c, err
	}
	rule := client.Options{TLS: c.TLS, Token: token}
	if err := rule.Check(o.Address); err != nil {
		return c, err // a token that would leave the host without TLS
	}
	c.Credentials = tokenFile(o.TokenFile)
	return c, nil
}

// tokenFile is the bearer token in a file. Where it may be sent was checked before.
type tokenFile string

// credentialsText begins the texts of errors of tokenFile, behind package client.
const credentialsText = "get credentials: "

func (f tokenFile) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	token, err := readToken(string(f))
	if err != nil {
		return nil, err
	}
	return map[string]string{"authorization": "Bearer " + token}, nil
}

func (tokenFile) RequireTransportSecurity() bool { return false }

// readToken returns the one token of the file.
func readToken(name string) (string, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return "", fmt.Errorf("read token: %w", err)
	}
	token := string(bytes.TrimSpace(text))
	if token == "" || strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return "", fmt.Errorf("read token: %s has to hold one token; got %d bytes", name, len(text))
	}
	return token, nil
}

// config returns the configuration of connections to address. On a unix socket the certificate must be for localhost.
func (t *TLS) config(address string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if host, _, err := net.SplitHostPort(address); err == nil && c.ServerName == "" {
		c.ServerName = host
	}
	if strings.HasPrefix(address, "unix:") && c.ServerName == "" {
		c.ServerName = "localhost"
	}
	if t.CAFile != "" {
		if _, err := readCAs(t.CAFile); err != nil {
			return nil, err
		}
		// crypto/tls would keep the present CAs. VerifyConnection does the same check with the file's present content.
		c.InsecureSkipVerify = true
		name := c.ServerName // of an IP address, the state of the connection has none
		c.VerifyConnection = func(state tls.ConnectionState) error { return t.verify(state, name) }
	}
	if t.CertFile == "" {
		c.ClientSessionCache = dial.Sessions()
		return c, nil
	}
	// A resumed session would show the receiver the certificate of the first connection, also after the file has changed.
	if _, err := t.certificate(nil); err != nil {
		return nil, err
	}
	c.GetClientCertificate = t.certificate
	return c, nil
}

// certificate returns the client certificate.
func (t *TLS) certificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	return &pair, nil
}

// verify verifies the receiver's certificate, which must be for name, by the CAs of the file.
func (t *TLS) verify(state tls.ConnectionState, name string) error {
	roots, err := readCAs(t.CAFile)
	if err != nil {
		return fmt.Errorf("tls: %w", err)
	}
	if len(state.PeerCertificates) == 0 {
		return errors.New("tls: the receiver shows no certificate")
	}
	intermediates := x509.NewCertPool()
	for _, c := range state.PeerCertificates[1:] {
		intermediates.AddCert(c)
	}
	_, err = state.PeerCertificates[0].Verify(x509.VerifyOptions{DNSName: name, Roots: roots, Intermediates: intermediates})
	return err
}

func readCAs(name string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read certificates: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read certificates: %s holds none in its %d bytes", name, len(pem))
	}
	return pool, nil
}
