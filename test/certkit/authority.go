// Package certkit makes certificates for tests: an authority and those that it has signed, in PEM files. Only tests import it.
package certkit

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority signs certificates.
type Authority struct {
	t    testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey

	Last int64 // the serial number of the latest certificate
}

// Certificate describes a certificate for both ends of a connection.
type Certificate struct {
	Common      string // name of the subject
	DNS         []string
	IPs         []net.IP
	From, Until time.Time // zero: always, and one hour from now
}

// Localhost is a certificate for this host.
func Localhost(common string) Certificate {
	return Certificate{Common: common, DNS: []string{"localhost"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}}
}

// New returns an authority, whose certificate is in the file NAME.pem of the folder.
func New(t testing.TB, dir, name string) *Authority {
	t.Helper()
	a := &Authority{t: t, dir: dir, key: newKey(t), Last: 1}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.Write(name+".pem", "CERTIFICATE", der)
	return a
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Path returns the path of a file of the authority's folder.
func (a *Authority) Path(file string) string { return filepath.Join(a.dir, file) }

// Write writes a PEM file.
func (a *Authority) Write(file, kind string, der []byte) {
	a.t.Helper()
	if err := os.WriteFile(a.Path(file), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// Issue writes a certificate and its key: NAME.pem and NAME.key. Existing files are replaced.
func (a *Authority) Issue(name string, c Certificate) (cert, key string) {
	a.t.Helper()
	if c.Until.IsZero() {
		c.Until = time.Now().Add(time.Hour)
	}
	a.Last++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(a.Last), Subject: pkix.Name{CommonName: c.Common}, DNSNames: c.DNS, IPAddresses: c.IPs,
		NotBefore: c.From, NotAfter: c.Until, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	private := newKey(a.t)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &private.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		a.t.Fatal(err)
	}
	a.Write(name+".pem", "CERTIFICATE", der)
	a.Write(name+".key", "PRIVATE KEY", secret)
	return a.Path(name + ".pem"), a.Path(name + ".key")
}

// Pool returns a pool with the authority.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// Client returns the TLS of a client that trusts the authority and connects to a server of the name. It shows the certificate
// NAME.pem, unless the name is empty.
func (a *Authority) Client(name, server string) *tls.Config {
	a.t.Helper()
	conf := &tls.Config{RootCAs: a.Pool(), ServerName: server}
	if name == "" {
		return conf
	}
	pair, err := tls.LoadX509KeyPair(a.Path(name+".pem"), a.Path(name+".key"))
	if err != nil {
		a.t.Fatal(err)
	}
	conf.Certificates = []tls.Certificate{pair}
	return conf
}
