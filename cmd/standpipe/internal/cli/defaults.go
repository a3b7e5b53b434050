package cli

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/standpipe/standpipe/agent/config"
)

// The environment variables with defaults of the flags.
const (
	ingestVariable = "STANDPIPE_ADDRESS"
	adminVariable  = "STANDPIPE_ADMIN_ADDRESS"
	tokenVariable  = "STANDPIPE_TOKEN_FILE"
)

func (d *DialFlags) addressVariable() string {
	if d.listener == "admin" {
		return adminVariable
	}
	return ingestVariable
}

// fillIn sets the flags that the command line does not have: from the agent's file of --config, or else from the environment.
func (d *DialFlags) fillIn() error {
	if d.changed == nil { // a command without flags has set the address itself
		return nil
	}
	address, tokens := os.Getenv(d.addressVariable()), os.Getenv(tokenVariable)
	if d.config != "" {
		conf, err := config.Load(d.config)
		if err != nil {
			return fmt.Errorf("read --config: %w", err)
		}
		var tls *config.TLS
		var auth *config.Auth
		if address, tls, auth, err = d.listenerOf(conf); err != nil {
			return err
		}
		if tokens = ""; auth != nil {
			tokens = auth.TokenFile
		}
		if tls != nil && !d.tls && d.caFile == "" {
			if err := d.trust(tls.CertFile); err != nil {
				return err
			}
		}
	}
	if address != "" && !d.changed("address") {
		d.Address = address
	}
	if tokens != "" && !d.changed("token-file") {
		d.tokenFile = tokens
	}
	return nil
}

// listenerOf returns the address, TLS and credentials of the agent's listener.
func (d *DialFlags) listenerOf(conf *config.Config) (address string, tls *config.TLS, auth *config.Auth, err error) {
	if d.listener == "admin" {
		return dialed(conf.Admin.Network, conf.Admin.Address), conf.Admin.TLS, conf.Admin.Auth, nil
	}
	for _, l := range conf.Listeners {
		if l.Type == "grpc" {
			return dialed(l.Network, l.Address), l.TLS, l.Auth, nil
		}
	}
	return "", nil, nil, fmt.Errorf("%s has no gRPC listener; give --address", d.config)
}

// dialed returns the address of a listener as a client writes it: of this host, if it binds all addresses.
func dialed(network, address string) string {
	if network == "unix" {
		return "unix://" + address
	}
	host, port, err := net.SplitHostPort(address)
	if ip, parse := netip.ParseAddr(host); err == nil && (host == "" || parse == nil && ip.IsUnspecified()) {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return address
}

// trust makes the certificate of the agent itself the only trusted one.
func (d *DialFlags) trust(certFile string) error {
	text, err := os.ReadFile(certFile)
	if err != nil {
		return fmt.Errorf("read certificate: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return fmt.Errorf("read certificate: %s has no PEM block in its %d bytes", certFile, len(text))
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return fmt.Errorf("read certificate: %s: %w", certFile, err)
	}
	switch {
	case len(c.DNSNames) > 0:
		d.serverName = c.DNSNames[0]
	case len(c.IPAddresses) > 0:
		d.serverName = c.IPAddresses[0].String()
	default:
		return errors.New("read certificate: " + certFile + " has no name; give --ca-file")
	}
	d.caFile = certFile
	return nil
}
