package cli

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe/client"
)

// Admin returns a client of the named listener. It ignores proxies in the environment.
func (d *DialFlags) Admin() (*AdminClient, error) {
	o, err := d.Options() // sets d.Address
	if err != nil {
		return nil, err
	}
	network, target, err := ParseAddress(d.Address)
	if err != nil {
		return nil, &ExitError{Code: ExitUsage, Err: err}
	}
	a := &AdminClient{Address: d.Address, base: "http://standpipe", token: o.Token}
	if o.TLS != nil {
		a.base = "https://standpipe"
	}
	a.transport = &http.Transport{TLSClientConfig: o.TLS, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, target)
	}}
	return a, nil
}

// The default addresses of the agent's listeners.
const (
	DefaultIngestAddress = "127.0.0.1:7710"
	DefaultAdminAddress  = "127.0.0.1:7712"
)

// DialFlags are the flags for the address of an agent's listener and the credentials for it.
type DialFlags struct {
	Address   string
	tls       bool
	caFile    string // "": the system's CAs
	certFile  string
	keyFile   string
	tokenFile string

	listener   string                 // gRPC or admin
	config     string                 // the file of the agent; "": none
	serverName string                 // of its certificate; "": the host of the address
	changed    func(flag string) bool // nil: there are no flags
}

// WithAdmin returns the RunE of a command that needs the admin listener: it calls f with a client, and closes it.
func (d *DialFlags) WithAdmin(f func(c *cobra.Command, client *AdminClient, args []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		client, err := d.Admin()
		if err != nil {
			return err
		}
		defer client.Close()
		return f(c, client, args)
	}
}

// Flags adds the flags to a command.
func (d *DialFlags) Flags(c *cobra.Command, listener, address string) {
	f := c.Flags()
	d.listener, d.changed = listener, f.Changed
	f.StringVar(&d.Address, "address", address, "the "+listener+" listener: `host:port` or unix:///path; also in "+d.addressVariable())
	f.StringVar(&d.config, "config", "", "take address, TLS and token from this configuration `file` of the agent")
	f.BoolVar(&d.tls, "tls", false, "use TLS")
	f.StringVar(&d.caFile, "ca-file", "", "trust the certificates in this PEM `file` (default: the system's); implies --tls")
	f.StringVar(&d.certFile, "cert-file", "", "present the certificate in this PEM `file`; implies --tls")
	f.StringVar(&d.keyFile, "key-file", "", "the key of --cert-file, a PEM `file`")
	f.StringVar(&d.tokenFile, "token-file", "", "present the token in this `file`; also in "+tokenVariable)
	c.MarkFlagsRequiredTogether("cert-file", "key-file")
}

// Options reads the files of the flags. As in package client, a token that would leave the host without TLS is an error, for
// every listener.
func (d *DialFlags) Options() (o client.Options, err error) {
	if err := d.fillIn(); err != nil {
		return o, err
	}
	network, target, err := ParseAddress(d.Address)
	if err != nil {
		return o, &ExitError{Code: ExitUsage, Err: err}
	}
	if o.TLS, err = d.readTLS(network, target); err != nil {
		return o, err
	}
	if o.Token, err = d.readToken(); err != nil {
		return o, err
	}
	if err := o.Check(d.Address); err != nil {
		return o, &ExitError{Code: ExitUsage, Err: err}
	}
	return o, nil
}

// readToken returns the one token of the file, or "" without a file.
func (d *DialFlags) readToken() (string, error) {
	if d.tokenFile == "" {
		return "", nil
	}
	text, err := os.ReadFile(d.tokenFile)
	if err != nil {
		return "", fmt.Errorf("read token: %w", err)
	}
	token := string(bytes.TrimSpace(text))
	if d.config != "" && !d.changed("token-file") { // the agent's own file may have several, one a line
		token, _, _ = strings.Cut(token, "\n")
		token = strings.TrimSpace(token)
	}
	if token == "" || strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return "", fmt.Errorf("read token: %s has to hold one token; got %d bytes", d.tokenFile, len(text))
	}
	return token, nil
}

// readTLS returns nil without a TLS flag. On a unix socket the server's certificate must be for localhost.
func (d *DialFlags) readTLS(network, target string) (*tls.Config, error) {
	if !d.tls && d.caFile == "" && d.certFile == "" {
		return nil, nil
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: "localhost"}
	if network == "tcp" {
		conf.ServerName, _, _ = net.SplitHostPort(target)
	}
	conf.ServerName = cmp.Or(d.serverName, conf.ServerName)
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

// ParseAddress parses host:port or unix:///path into the arguments of net.Dial.
func ParseAddress(address string) (network, target string, err error) {
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
