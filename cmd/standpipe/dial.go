package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe/client"
)

const (
	defaultIngestAddress = "127.0.0.1:7710"
	defaultAdminAddress  = "127.0.0.1:7712"
)

// dialing is where a command finds an agent's listener, and what the listener wants to see.
type dialing struct {
	address   string
	tls       bool
	caFile    string // "": the system's
	certFile  string
	keyFile   string
	tokenFile string
}

// flags adds those of dialing to a command that asks such a listener.
func (d *dialing) flags(c *cobra.Command, listener, address string) {
	f := c.Flags()
	f.StringVar(&d.address, "address", address, "the "+listener+" listener: `host:port` or unix:///path")
	f.BoolVar(&d.tls, "tls", false, "the listener speaks TLS")
	f.StringVar(&d.caFile, "ca-file", "", "trust the certificates in this PEM `file` (default: the system's); means --tls")
	f.StringVar(&d.certFile, "cert-file", "", "show the certificate in this PEM `file`; means --tls")
	f.StringVar(&d.keyFile, "key-file", "", "the key of --cert-file, a PEM `file`")
	f.StringVar(&d.tokenFile, "token-file", "", "show the token that this `file` holds")
	c.MarkFlagsRequiredTogether("cert-file", "key-file")
}

// options are what the flags say, with the files read. What package client refuses is an error for every
// listener: a token that would leave the host without TLS.
func (d *dialing) options() (o client.Options, err error) {
	network, target, err := parseAddress(d.address)
	if err != nil {
		return o, &exitError{code: exitUsage, err: err}
	}
	if o.TLS, err = d.readTLS(network, target); err != nil {
		return o, err
	}
	if o.Token, err = d.readToken(); err != nil {
		return o, err
	}
	if err := o.Check(d.address); err != nil {
		return o, &exitError{code: exitUsage, err: err}
	}
	return o, nil
}

// readToken returns the file's one token, or none where no file is named.
func (d *dialing) readToken() (string, error) {
	if d.tokenFile == "" {
		return "", nil
	}
	text, err := os.ReadFile(d.tokenFile)
	if err != nil {
		return "", fmt.Errorf("read token: %w", err)
	}
	token := string(bytes.TrimSpace(text))
	if token == "" || strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return "", fmt.Errorf("read token: %s has to hold one token, of %d bytes it is none", d.tokenFile, len(text))
	}
	return token, nil
}

// readTLS returns nil where no flag speaks of TLS. The certificate of a unix socket is one of localhost.
func (d *dialing) readTLS(network, target string) (*tls.Config, error) {
	if !d.tls && d.caFile == "" && d.certFile == "" {
		return nil, nil
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
	return conf, nil
}

// parseAddress reads host:port or unix:///path into what net.Dial takes.
func parseAddress(address string) (network, target string, err error) {
	if path, ok := strings.CutPrefix(address, "unix://"); ok {
		if !strings.HasPrefix(path, "/") {
			return "", "", fmt.Errorf("address %q: want unix:///path with an absolute path", address)
		}
		return "unix", path, nil
	}
	if _, port, err := net.SplitHostPort(address); err != nil || port == "" {
		return "", "", fmt.Errorf("address %q: want host:port or unix:///path", address)
	}
	return "tcp", address, nil
}
