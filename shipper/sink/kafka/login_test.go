//go:build unix

package kafka_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"hash"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink/kafka"
	"github.com/standpipe/standpipe/test/kafkakit"
	"github.com/standpipe/standpipe/test/testkit"
)

// secured are the settings of the broker's listeners with a login and with TLS, and their addresses.
type secured struct {
	settings      map[string]string
	login, tls    string
	authority     string // files
	client, other [2]string
}

func newSecured(t *testing.T, folder string) *secured {
	t.Helper()
	s := &secured{login: testkit.FreeAddress(t), tls: testkit.FreeAddress(t)}
	ca := newAuthority(t)
	s.authority = write(t, folder, "ca.pem", ca.pem)
	cert, key := ca.issue(t, "broker")
	clientCert, clientKey := ca.issue(t, "agent")
	s.client = [2]string{write(t, folder, "client.pem", clientCert), write(t, folder, "client.key", clientKey)}
	otherCert, otherKey := newAuthority(t).issue(t, "stranger")
	s.other = [2]string{write(t, folder, "other.pem", otherCert), write(t, folder, "other.key", otherKey)}
	const module = "org.apache.kafka.common.security."
	s.settings = map[string]string{
		"listeners":                                           "+LOGIN://" + s.login + ",SECURE://" + s.tls,
		"advertised.listeners":                                "+LOGIN://" + s.login + ",SECURE://" + s.tls,
		"listener.security.protocol.map":                      "+LOGIN:SASL_PLAINTEXT,SECURE:SSL",
		"sasl.enabled.mechanisms":                             "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
		"listener.name.login.plain.sasl.jaas.config":          module + `plain.PlainLoginModule required user_agent="secret";`,
		"listener.name.login.scram-sha-256.sasl.jaas.config":  module + `scram.ScramLoginModule required;`,
		"listener.name.login.scram-sha-512.sasl.jaas.config":  module + `scram.ScramLoginModule required;`,
		"listener.name.login.oauthbearer.sasl.jaas.config":    module + `oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";`,
		"listener.name.secure.ssl.client.auth":                "required",
		"listener.name.secure.ssl.keystore.type":              "PEM",
		"listener.name.secure.ssl.truststore.type":            "PEM",
		"listener.name.secure.ssl.truststore.certificates":    oneLine(ca.pem),
		"listener.name.secure.ssl.keystore.certificate.chain": oneLine(cert),
		"listener.name.secure.ssl.keystore.key":               oneLine(key),
	}
	return s
}

// oneLine returns a PEM text as a value of server.properties.
func oneLine(text string) string { return strings.ReplaceAll(strings.TrimSpace(text), "\n", `\n`) }

func write(t *testing.T, folder, name, text string) string {
	t.Helper()
	path := filepath.Join(folder, name)
	testkit.Must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	a.pem, a.key, a.cert = sign(t, "authority", nil)
	return a
}

func (a *authority) issue(t *testing.T, name string) (cert, key string) {
	t.Helper()
	cert, private, _ := sign(t, name, a)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	testkit.Must(t, err)
	return cert, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// sign makes a certificate that by signs; nil: it signs itself, and others.
func sign(t *testing.T, name string, by *authority) (string, *ecdsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	testkit.Must(t, err)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, signer := c, key
	if by == nil {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
	} else {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	testkit.Must(t, err)
	made, err := x509.ParseCertificate(der)
	testkit.Must(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), key, made
}

// addUser makes the user agent with the password secret for both mechanisms of SCRAM.
func addUser(t *testing.T, b *kafkakit.Broker) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Address()))
	testkit.Must(t, err)
	defer client.Close()
	for mechanism, h := range map[int8]func() hash.Hash{1: sha256.New, 2: sha512.New} {
		salt := []byte("salt")
		salted, err := pbkdf2.Key(h, "secret", salt, 4096, h().Size())
		testkit.Must(t, err)
		u := kmsg.NewAlterUserSCRAMCredentialsRequestUpsertion()
		u.Name, u.Mechanism, u.Iterations, u.Salt, u.SaltedPassword = "agent", mechanism, 4096, salt, salted
		req := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
		req.Upsertions = append(req.Upsertions, u)
		resp, err := req.RequestWith(t.Context(), client)
		testkit.Must(t, err)
		testkit.Must(t, kerr.ErrorForCode(resp.Results[0].ErrorCode))
	}
}

// unsignedToken returns a token that the broker accepts without a signature.
func unsignedToken() string {
	part := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	return part(`{"alg":"none"}`) + "." + part(fmt.Sprintf(`{"sub":"agent","iat":%d,"exp":%d}`, time.Now().Unix(), time.Now().Add(time.Hour).Unix())) + "."
}

func TestBroker_AcceptsEveryLogin(t *testing.T) {
	b := broker(t)
	addUser(t, b)
	folder := t.TempDir()
	password, wrong := write(t, folder, "password", "secret\n"), write(t, folder, "wrong", "guess\n")
	token, bad := write(t, folder, "token", unsignedToken()), write(t, folder, "bad", "no.token.")
	for _, test := range []struct {
		name string
		sasl kafka.SASL
		code string // of the error; "": none
	}{
		{"PLAIN", kafka.SASL{Mechanism: "PLAIN", Username: "agent", PasswordFile: password}, ""},
		{"SCRAM-SHA-256", kafka.SASL{Mechanism: "SCRAM-SHA-256", Username: "agent", PasswordFile: password}, ""},
		{"SCRAM-SHA-512", kafka.SASL{Mechanism: "SCRAM-SHA-512", Username: "agent", PasswordFile: password}, ""},
		{"OAUTHBEARER", kafka.SASL{Mechanism: "OAUTHBEARER", TokenFile: token}, ""},
		{"wrong password", kafka.SASL{Mechanism: "PLAIN", Username: "agent", PasswordFile: wrong}, "SASL_AUTHENTICATION_FAILED"},
		{"wrong SCRAM password", kafka.SASL{Mechanism: "SCRAM-SHA-512", Username: "agent", PasswordFile: wrong}, "SASL_AUTHENTICATION_FAILED"},
		{"bad token", kafka.SASL{Mechanism: "OAUTHBEARER", TokenFile: bad}, "SASL_AUTHENTICATION_FAILED"},
		{"no password file", kafka.SASL{Mechanism: "PLAIN", Username: "agent", PasswordFile: "/nowhere"}, "credentials"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := brokerOptions(t, b, 2)
			o.Brokers, o.SASL = []string{security.login}, test.sasl
			checkLogin(t, o, test.code)
		})
	}
}

func TestBroker_AcceptsClientCertificates(t *testing.T) {
	b := broker(t)
	for _, test := range []struct {
		name string
		tls  *kafka.TLS
		code string
	}{
		{"client certificate", &kafka.TLS{CAFile: security.authority, CertFile: security.client[0], KeyFile: security.client[1]}, ""},
		{"unknown certificate", &kafka.TLS{CAFile: security.authority, CertFile: security.other[0], KeyFile: security.other[1]}, "tls"},
		{"unknown authority", &kafka.TLS{CertFile: security.client[0], KeyFile: security.client[1]}, "tls"},
		{"other name", &kafka.TLS{CAFile: security.authority, CertFile: security.client[0], KeyFile: security.client[1], ServerName: "else.where"}, "tls"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := brokerOptions(t, b, 2)
			o.Brokers, o.TLS = []string{security.tls}, test.tls
			checkLogin(t, o, test.code)
		})
	}
	t.Run("no TLS there", func(t *testing.T) {
		o := brokerOptions(t, b, 2)
		o.TLS = &kafka.TLS{CAFile: security.authority}
		s, err := kafka.New(t.Context(), o)
		testkit.Must(t, err)
		defer s.Close()
		got := s.Send(t.Context(), recordsOf(texts(t, 1, 1)))
		checkError(t, got.Err, shipper.Transient, "connection", "TLS")
	})
	t.Run("TLS is needed", func(t *testing.T) {
		o := brokerOptions(t, b, 2)
		o.Brokers = []string{security.tls}
		s, err := kafka.New(t.Context(), o)
		testkit.Must(t, err)
		defer s.Close()
		got := s.Send(t.Context(), recordsOf(texts(t, 1, 1)))
		checkError(t, got.Err, shipper.Transient, "connection", "TLS")
	})
}

// checkLogin sends events. With a code, they fail with it, and need an operator.
func checkLogin(t *testing.T, o kafka.Options, code string) {
	t.Helper()
	s, err := kafka.New(t.Context(), o)
	testkit.Must(t, err)
	defer s.Close()
	events := texts(t, 20, 5)
	if code == "" {
		mustSend(t, s, events)
		return
	}
	got := s.Send(t.Context(), recordsOf(events))
	if got.Err == nil || got.Err.Class != shipper.Operator || got.Err.Code != code {
		t.Errorf("got %+v, want %s", got.Err, code)
	}
}
