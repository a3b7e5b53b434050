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

// dialFlags are the flags for the address of an agent's listener and the credentials for it.
type dialFlags struct {
	address   string
	tls       bool
	caFile    string // "": the system's CAs
	certFile  string
	keyFile   string
	tokenFile string
}

// flags adds the flags to a command.
func (d *dialFlags) flags(c *cobra.Command, listener, address string) {
	f := c.Flags()
	f.StringVar(&d.address, "address", address, "the "+listener+" listener: `host:port` or unix:///path")
	f.BoolVar(&d.tls, "tls", false, "use TLS")
	f.StringVar(&d.caFile, "ca-file", "", "trust the certificates in this PEM `file` (default: the system's); implies --tls")
	f.StringVar(&d.certFile, "cert-file", "", "present the certificate in this PEM `file`; implies --tls")
	f.StringVar(&d.keyFile, "key-file", "", "the key of --cert-file, a PEM `file`")
	f.StringVar(&d.tokenFile, "token-file", "", "present the token in this `file`")
	c.MarkFlagsRequiredTogether("cert-file", "key-file")
}

// options reads the files of the flags. As in package client, a token that would leave the host without TLS is an error, for
// every listener.
func (d *dialFlags) options() (o client.Options, err error) {
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

// readToken returns the one token of the file, or "" without a file.
func (d *dialFlags) readToken() (string, error) {
	if d.tokenFile == "" {
		return "", nil
	}
	text, err := os.ReadFile(d.tokenFile)
	if err != nil {
		return "", fmt.Errorf("read token: %w", err)
	}
	token := string(bytes.TrimSpace(text))
	if token == "" || strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return "", fmt.Errorf("read token: %s has to hold one token; got %d bytes", d.tokenFile, len(text))
	}
	return token, nil
}

// readTLS returns nil without a TLS flag. On a unix socket the server's certificate must be for localhost.
func (d *dialFlags) readTLS(network, target string) (*tls.Config, error) {
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
			return nil, fmt.Errorf("read certificates: %s holds none in its %d bytes", d.caFile, len(pem))
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

// parseAddress parses host:port or unix:///path into the arguments of net.Dial.
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
