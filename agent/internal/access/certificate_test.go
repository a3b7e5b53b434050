package access_test

import (
	"bytes"
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent/internal/access"
	"github.com/standpipe/standpipe/test/certkit"
)

// authority signs certificates. The name of the server is agent.
type authority struct{ *certkit.Authority }

func newAuthority(t *testing.T) *authority {
	t.Helper()
	return &authority{certkit.New(t, t.TempDir(), "ca")}
}

// issue writes NAME.pem and NAME.key.
func (a *authority) issue(name, common string, dns ...string) {
	a.Issue(name, certkit.Certificate{Common: common, DNS: dns})
}

// client trusts the authority and shows the certificate of that name, unless it is empty.
func (a *authority) client(name string) *tls.Config { return a.Client(name, "agent") }

// greet connects and returns the name of the server's certificate.
func greet(t *testing.T, server, client *tls.Config) (string, error) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				c.Write([]byte("x"))
			}()
		}
	}()
	c, err := tls.Dial("tcp", l.Addr().String(), client)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if _, err := c.Read(make([]byte, 1)); err != nil { // TLS 1.3 reports a rejected certificate only here
		return "", err
	}
	return c.ConnectionState().PeerCertificates[0].Subject.CommonName, nil
}

func TestCertificate_IsReadAgain(t *testing.T) {
	ca := newAuthority(t)
	ca.issue("server", "first", "agent")
	c, err := access.OpenCertificate(access.Files{Cert: ca.Path("server.pem"), Key: ca.Path("server.key")}, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	expect := func(want string) {
		t.Helper()
		if got, err := greet(t, c.TLS(), ca.client("")); got != want || err != nil {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	expect("first")
	if file, expires := c.Expiry(); file != ca.Path("server.pem") || time.Until(expires) <= 0 || time.Until(expires) > time.Hour {
		t.Errorf("got %s, which expires at %v, want %s within the hour", file, expires, ca.Path("server.pem"))
	}
	ca.issue("server", "second", "agent")
	c.Refresh()
	expect("second")
	ca.Write("server.pem", "CERTIFICATE", []byte("broken"))
	c.Refresh()
	expect("second")
	if err := os.Remove(ca.Path("server.key")); err != nil {
		t.Fatal(err)
	}
	c.Refresh()
	expect("second")
	ca.issue("server", "third", "agent")
	c.Refresh()
	expect("third")
}

// handshake connects in memory and returns the producer's state of the connection.
func handshake(t *testing.T, server, client *tls.Config) tls.ConnectionState {
	t.Helper()
	near, far := net.Pipe()
	defer near.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer far.Close()
		tls.Server(far, server).Write([]byte("x"))
	}()
	c := tls.Client(near, client)
	if _, err := c.Read(make([]byte, 1)); err != nil { // also a ticket to resume with, if there is one
		t.Error(err)
	}
	near.Close()
	<-done
	return c.ConnectionState()
}

// TestCertificate_RenewedIsUsedWithinASecond: later connections get a renewed certificate without a reload. An unusable one
// is logged once.
func TestCertificate_RenewedIsUsedWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newAuthority(t)
		ca.issue("server", "first", "agent")
		var said bytes.Buffer
		files := access.Files{Cert: ca.Path("server.pem"), Key: ca.Path("server.key")}
		c, err := access.OpenCertificate(files, hclog.New(&hclog.LoggerOptions{Output: &said}))
		if err != nil {
			t.Fatal(err)
		}
		expect := func(want string) {
			t.Helper()
			if got := handshake(t, c.TLS(), ca.client("")).PeerCertificates[0].Subject.CommonName; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
		ca.issue("server", "second", "agent")
		expect("first")
		time.Sleep(time.Second)
		expect("second")
		ca.Write("server.pem", "CERTIFICATE", []byte("broken"))
		for range 3 {
			time.Sleep(time.Minute)
			expect("second")
		}
		if got := strings.Count(said.String(), "a changed certificate can't be used; the one before stays in force"); got != 1 {
			t.Errorf("it is said %d times, want once: %s", got, &said)
		}
	})
}

// TestClientCA_RemovedIsNotTrusted: a producer cannot reconnect with a certificate of a removed authority.
func TestClientCA_RemovedIsNotTrusted(t *testing.T) {
	ca, next := newAuthority(t), newAuthority(t)
	ca.issue("server", "server", "agent")
	ca.issue("meter", "meter")
	files := access.Files{Cert: ca.Path("server.pem"), Key: ca.Path("server.key"), ClientCA: filepath.Join(t.TempDir(), "clients.pem")}
	trust := func(a *authority) {
		t.Helper()
		text, err := os.ReadFile(a.Path("ca.pem"))
		if err == nil {
			err = os.WriteFile(files.ClientCA, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	trust(ca)
	c, err := access.OpenCertificate(files, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	meter := ca.client("meter")
	meter.ClientSessionCache = tls.NewLRUClientSessionCache(9)
	server := c.TLS()
	for range 2 {
		if handshake(t, server, meter).DidResume {
			t.Error("a session is resumed")
		}
	}
	trust(next)
	c.Refresh()
	if _, err := greet(t, server, meter); err == nil {
		t.Error("what an authority had signed that is gone is taken")
	}
}

func TestCertificate_WarnsOfValidity(t *testing.T) {
	ca := newAuthority(t)
	now := time.Now()
	for _, tt := range []struct {
		from, until time.Time
		mode        os.FileMode
		want        string
	}{
		{now.Add(-time.Hour), now.Add(time.Hour), 0o600, "[INFO]  certificate read: "},
		{now.Add(-time.Hour), now.Add(-time.Minute), 0o600, "[WARN]  a certificate has expired; clients will reject it: "},
		{now.Add(time.Minute), now.Add(time.Hour), 0o600, "[WARN]  a certificate is not valid yet; clients will reject it: "},
		{now.Add(-time.Hour), now.Add(time.Hour), 0o604, "[WARN]  everybody on this host can read a key file; chmod o-rwx closes it: file=" + ca.Path("server.key")},
	} {
		ca.Issue("server", certkit.Certificate{Common: "server", From: tt.from, Until: tt.until})
		if err := os.Chmod(ca.Path("server.key"), tt.mode); err != nil {
			t.Fatal(err)
		}
		var said bytes.Buffer
		files := access.Files{Cert: ca.Path("server.pem"), Key: ca.Path("server.key")}
		if _, err := access.OpenCertificate(files, hclog.New(&hclog.LoggerOptions{Output: &said})); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(said.String(), tt.want) || strings.Contains(said.String(), "everybody") != (tt.mode == 0o604) {
			t.Errorf("got %s, want %s", &said, tt.want)
		}
	}
}

func TestCertificate_OfClients(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	ca.issue("server", "server", "agent")
	ca.issue("meter", "meter")
	other.issue("meter", "meter")
	files := access.Files{Cert: ca.Path("server.pem"), Key: ca.Path("server.key"), ClientCA: ca.Path("ca.pem")}
	c, err := access.OpenCertificate(files, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	foreign := other.client("meter")
	foreign.RootCAs = ca.client("").RootCAs
	for name, tt := range map[string]struct {
		client *tls.Config
		good   bool
	}{"ours": {ca.client("meter"), true}, "none": {ca.client(""), false}, "of another authority": {foreign, false}} {
		if _, err := greet(t, c.TLS(), tt.client); (err == nil) != tt.good {
			t.Errorf("%s: got %v", name, err)
		}
	}
	old := ca.client("meter")
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if _, err := greet(t, c.TLS(), old); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
}

func TestCertificate_Unreadable(t *testing.T) {
	ca := newAuthority(t)
	ca.issue("server", "server")
	ca.issue("other", "other")
	for name, files := range map[string]access.Files{
		"no file":       {Cert: ca.Path("absent"), Key: ca.Path("server.key")},
		"another's key": {Cert: ca.Path("server.pem"), Key: ca.Path("other.key")},
		"no CA":         {Cert: ca.Path("server.pem"), Key: ca.Path("server.key"), ClientCA: ca.Path("server.key")},
	} {
		if _, err := access.OpenCertificate(files, hclog.NewNullLogger()); err == nil {
			t.Errorf("%s: it is opened", name)
		}
	}
}

// Two handshakes look at once while an operator replaces the files. The newest certificate stays in force, not that of the look
// that ends last.
func TestCertificate_NewestOfTwoLooksStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newAuthority(t)
		ca.issue("server", "first", "agent")
		files := access.Files{Cert: ca.Path("server.pem"), Key: ca.Path("server.key"), ClientCA: filepath.Join(t.TempDir(), "clients.pem")}
		text, err := os.ReadFile(ca.Path("ca.pem"))
		if err == nil {
			err = os.WriteFile(files.ClientCA, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		c, err := access.OpenCertificate(files, hclog.NewNullLogger())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(files.ClientCA, 0); err != nil {
			t.Fatal(err)
		}
		var looks sync.WaitGroup
		looks.Go(c.Refresh)
		synctest.Wait() // it has read the certificate, and waits for the authorities to be written
		ca.issue("server", "second", "agent")
		if err := os.WriteFile(files.ClientCA, text, 0o600); err != nil {
			t.Fatal(err)
		}
		looks.Go(c.Refresh)
		looks.Wait()
		ca.issue("client", "client")
		if got := handshake(t, c.TLS(), ca.client("client")).PeerCertificates[0].Subject.CommonName; got != "second" {
			t.Errorf("got the %s certificate", got)
		}
	})
}
