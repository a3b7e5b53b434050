//go:build unix

package e2e_test

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/client"
	"github.com/standpipe/standpipe/test/certkit"
	"github.com/standpipe/standpipe/test/testkit"
)

// certificates are those of an authority, in files of an agent's folder.
type certificates struct {
	*certkit.Authority
	a *agent
}

func newCertificates(t *testing.T, a *agent) *certificates {
	t.Helper()
	return &certificates{certkit.New(t, a.path(""), "ca"), a}
}

// issue writes NAME.pem and NAME.key, a certificate of localhost.
func (c *certificates) issue(name string) {
	c.Issue(name, certkit.Certificate{Common: name, DNS: []string{"localhost"}})
}

func (c *certificates) write(name string, text []byte) {
	if err := os.WriteFile(c.a.path(name), text, 0o600); err != nil {
		c.a.t.Fatal(err)
	}
}

// of trusts the authority and shows the certificate of that name, unless it is empty.
func (c *certificates) of(name string) *tls.Config { return c.Client(name, "localhost") }

const guarded = `
listener "grpc" {
  address = %q
  tls {
    cert_file      = "${dir}/server.pem"
    key_file       = "${dir}/server.key"
    client_ca_file = "${dir}/ca.pem"
  }
  auth {
    token_file = "${dir}/tokens"
    identities = ["meters"]
  }
}
listener "http" {
  address = %q
  tls {
    cert_file = "${dir}/server.pem"
    key_file  = "${dir}/server.key"
  }
  auth { identities = ["web"] }
}
listener "socket" {
  address = "unix://${dir}/guarded.sock"
  auth { identities = ["local"] }
}
identity "meters" {
  certificates = ["meter-*"]
  streams      = ["meter-*"]
}
identity "web" {
  token_file = "${dir}/web.tokens"
  streams    = ["clicks"]
  max_events = "1/s"
}
identity "local" { uids = [%d] }
stream "*" {
  format = "bytes"
  destination "file" "local" { path = "${dir}/out/${stream}" }
}
`

// startGuarded starts an agent whose listeners authenticate callers. The gRPC and HTTP ones listen on every address.
func startGuarded(t *testing.T) (a *agent, c *certificates, grpc, web string) {
	t.Helper()
	a = newAgent(t, "", "")
	c = newCertificates(t, a)
	for _, name := range []string{"server", "meter-7", "gauge-7"} {
		c.issue(name)
	}
	c.write("tokens", []byte("master\n"))
	c.write("web.tokens", []byte("first\nsecond\n"))
	grpc, web = testkit.FreeAddress(t), testkit.FreeAddress(t)
	every := func(address string) string { return strings.Replace(address, "127.0.0.1", "0.0.0.0", 1) }
	a.configure(fmt.Sprintf(guarded, every(grpc), every(web), os.Getuid()))
	a.start()
	return a, c, grpc, web
}

// publish appends an event over gRPC and returns the error.
func publish(t *testing.T, address, stream string, o client.Options) *client.Error {
	t.Helper()
	c, err := client.Dial(address, o)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p := c.Publisher(stream, client.PublisherOptions{GiveUp: time.Minute})
	receipt, err := p.Publish(t.Context(), client.Event{Key: "k", Data: []byte("x")})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(t.Context())
	_, err = receipt.Wait(t.Context())
	if err == nil {
		return nil
	}
	refused, ok := errors.AsType[*client.Error](err)
	if !ok {
		t.Fatalf("got %v", err)
	}
	return refused
}

// post sends an event over HTTP and returns the status and the serial number of the certificate that was shown.
func post(t *testing.T, c *certificates, address, stream, token string) (status int, retry string, serial int64) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: c.of("")}
	defer transport.CloseIdleConnections()
	r, err := http.NewRequest("POST", "https://"+address+"/v1/streams/"+stream+"?key=k", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	got, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	got.Body.Close()
	return got.StatusCode, got.Header.Get("Retry-After"), got.TLS.PeerCertificates[0].SerialNumber.Int64()
}

func TestAccess_OfProducers(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	a, c, grpc, web := startGuarded(t)
	for _, tt := range []struct {
		cert, token, stream string
		want                codes.Code
	}{
		{"meter-7", "", "meter-7", codes.OK},
		{"meter-7", "", "clicks", codes.PermissionDenied},
		{"meter-7", "master", "clicks", codes.OK},
		{"meter-7", "wrong", "meter-7", codes.Unauthenticated},
		{"gauge-7", "", "meter-7", codes.Unauthenticated},
		{"gauge-7", "first", "clicks", codes.Unauthenticated},
	} {
		refused := publish(t, grpc, tt.stream, client.Options{TLS: c.of(tt.cert), Token: tt.token})
		if got := codeOf(refused); got != tt.want {
			t.Errorf("%+v: got %v", tt, refused)
		}
	}
	for _, tt := range []struct {
		stream, token string
		want          int
	}{{"clicks", "first", 200}, {"meter-7", "first", 403}, {"clicks", "master", 401}, {"clicks", "", 401}} {
		if got, _, _ := post(t, c, web, tt.stream, tt.token); got != tt.want {
			t.Errorf("%+v: got %d", tt, got)
		}
	}
	a.dialSocketAt("guarded.sock").expectStored(`{"stream":"local","key":"k","data":1}`)
	testkit.Eventually(t, 5*time.Second, func() error {
		status, retry, _ := post(t, c, web, "clicks", "first")
		if status != 429 || retry != "1" {
			return fmt.Errorf("got %d, Retry-After %q, want 429 once it goes too fast", status, retry)
		}
		return nil
	})
	expectWhoSent(a)
	metrics := a.get("/metrics")
	for _, want := range []string{`{reason="unauthenticated",stream=""}`, `{reason="forbidden",stream=""}`, `{reason="rate",stream="clicks"}`} {
		if !strings.Contains(metrics, "standpipe_refused_events_total"+want) {
			t.Errorf("the metrics have no %s", want)
		}
	}
	a.stop()
	for _, secret := range []string{"master", "first"} {
		if strings.Contains(a.out.String(), secret) {
			t.Errorf("the agent's log has the token %s", secret)
		}
	}
}

// expectWhoSent checks the counts of TestAccess_OfProducers in the status.
func expectWhoSent(a *agent) {
	a.t.Helper()
	var got admin.Status
	if err := json.Unmarshal([]byte(a.get("/v1/status")), &got); err != nil {
		a.t.Fatal(err)
	}
	var said []string
	for _, i := range got.Access.Identities {
		if i.Name == "web" && i.Appended.Events > 0 && i.Refused.Reasons["rate"] > 0 {
			i.Appended.Events, i.Refused.Reasons["rate"] = 1, 1 // as many as it was fast
		}
		said = append(said, fmt.Sprintf("%s %d %v", i.Name, i.Appended.Events, i.Refused.Reasons))
	}
	want := []string{" 1 map[]", "meters 1 map[forbidden:1]", "web 1 map[forbidden:1 rate:1]", "local 1 map[]"}
	if !slices.Equal(said, want) {
		a.t.Errorf("got %q, want %q", said, want)
	}
	if u := got.Access.Unknown; u.Requests != 5 || !strings.HasPrefix(u.LastRefusal.From, "127.0.0.1:") {
		a.t.Errorf("got %+v, want 5 requests of whom nobody knows", u)
	}
}

func codeOf(e *client.Error) codes.Code {
	if e == nil {
		return codes.OK
	}
	return e.Code
}

// TestCertificate_Renewed renews all that a listener's protection is made of while the agent runs.
func TestCertificate_Renewed(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	a, c, grpc, web := startGuarded(t)
	_, _, before := post(t, c, web, "clicks", "second")
	c.issue("server")
	c.write("web.tokens", []byte("first\nthird\n"))
	a.signal(syscall.SIGHUP)
	testkit.Eventually(t, 5*time.Second, func() error {
		if _, _, serial := post(t, c, web, "clicks", "first"); serial != c.Last {
			return fmt.Errorf("got the certificate %d, want %d, which was %d", serial, c.Last, before)
		}
		return nil
	})
	testkit.Eventually(t, 5*time.Second, func() error { // once its pace lets it
		if got, _, _ := post(t, c, web, "clicks", "third"); got != 200 {
			return fmt.Errorf("a new token: got %d", got)
		}
		return nil
	})
	if got, _, _ := post(t, c, web, "clicks", "second"); got != 401 {
		t.Errorf("a token that is gone: got %d", got)
	}
	c.write("server.pem", []byte("half of it"))
	a.signal(syscall.SIGHUP)
	testkit.Eventually(t, 5*time.Second, func() error {
		if !strings.Contains(a.out.String(), "a changed certificate can't be used; the one before stays in force") {
			return errors.New("it is not said")
		}
		return nil
	})
	if refused := publish(t, grpc, "meter-7", client.Options{TLS: c.of("meter-7")}); refused != nil {
		t.Errorf("with a certificate that is broken: got %v", refused)
	}
	a.stop()
}

func TestStart_WithMissingFiles(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	for name, block := range map[string]string{
		`agent.hcl:8:1: listener "grpc": read certificate`: `tls {` + "\n" + `cert_file = "/absent.pem"` + "\n" + `key_file = "/absent.key"` + "\n}",
		`agent.hcl:8:1: listener "grpc": read tokens`:      `auth { token_file = "/absent" }`,
	} {
		a := newAgent(t, fmt.Sprintf("listener \"grpc\" {\naddress = %q\n%s\n}\n", testkit.FreeAddress(t), block), streamBlock("s", fileDestination))
		a.launch()
		if code := a.exit(20 * time.Second); code != 1 || !strings.Contains(a.out.String(), name) || !strings.Contains(a.out.String(), "absent") {
			t.Errorf("%s: got exit code %d and %s", name, code, a.out)
		}
	}
}

func TestPut_PresentsCredentials(t *testing.T) {
	endToEnd(t)
	a, c, grpc, _ := startGuarded(t)
	address := strings.Replace(grpc, "127.0.0.1", "localhost", 1)
	meter := []string{"--ca-file", a.path("ca.pem"), "--cert-file", a.path("meter-7.pem"), "--key-file", a.path("meter-7.key")}
	c.write("master", []byte("master\n"))
	c.write("wrong", []byte("guessed\n"))
	for _, tt := range []struct {
		stream string
		flags  []string
		code   int
		says   string
	}{
		{"meter-1", meter, 0, "stored 2 events"},
		{"clicks", meter, 1, "(PERMISSION_DENIED) (0 events stored before it)"},
		{"clicks", append(meter, "--token-file", a.path("master")), 0, "stored 2 events"},
		{"clicks", append(meter, "--token-file", a.path("wrong")), 1, "(UNAUTHENTICATED) (0 events stored before it)"},
		{"meter-1", meter[:2], 1, "stored 0 events"},
		{"meter-1", nil, 1, ""},
		{"meter-1", meter[:4], 2, "key-file"},
		{"meter-1", []string{"--ca-file", a.path("meter-7.key")}, 1, "holds none"},
	} {
		code, out, errs := runProgram(t, "x\ny\n", append([]string{"put", tt.stream, "--address", address}, tt.flags...)...)
		if code != tt.code || !strings.Contains(out+errs, tt.says) {
			t.Errorf("%s %q: got %d %q, want %d and %q", tt.stream, tt.flags, code, out+errs, tt.code, tt.says)
		}
	}
}

const guardedAdmin = `
node_name = "e2e"
data_dir  = "${dir}/data"
admin {
  address = %q
  tls {
    cert_file = "${dir}/server.pem"
    key_file  = "${dir}/server.key"
  }
  auth {
    token_file = "${dir}/admin.tokens"
    identities = ["operators"]
  }
}
identity "operators" { token_file = "${dir}/operators.tokens" }
identity "senders" { token_file = "${dir}/senders.tokens" }
stream "s" {
  destination "file" "local" { path = "${dir}/out" }
}
listener "socket" { address = "unix://${dir}/events.sock" }
`

// TestAccess_OfOperators sends requests to an admin listener that every host could reach, while its secrets are renewed.
func TestAccess_OfOperators(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	a := newAgent(t, "", "")
	c := newCertificates(t, a)
	c.issue("server")
	for _, of := range []string{"admin", "operators", "senders"} {
		c.write(of+".tokens", []byte(of+"-1\n"))
	}
	a.head = ""
	a.configure(fmt.Sprintf(guardedAdmin, strings.Replace(a.admin, "127.0.0.1", "0.0.0.0", 1)))
	a.launch()
	_, port, _ := strings.Cut(a.admin, ":")
	ask := func(token string) (code int, said string) {
		c.write("shown", []byte(token))
		code, out, errs := runProgram(t, "", "status", "--address", "localhost:"+port, "--ca-file", a.path("ca.pem"), "--token-file", a.path("shown"))
		return code, out + errs
	}
	expect := func(token string, code int, says string) {
		t.Helper()
		testkit.Eventually(t, 20*time.Second, func() error {
			if got, said := ask(token); got != code || !strings.Contains(said, says) {
				return fmt.Errorf("%s: got exit code %d and %s, want %d and %q", token, got, said, code, says)
			}
			return nil
		})
	}
	expect("admin-1", 0, "agent  e2e, running")
	expect("operators-1", 0, "agent  e2e, running")
	expect("senders-1", 1, "401 Unauthorized: the token is not known here")
	c.write("operators.tokens", []byte("operators-2\n"))
	c.write("admin.tokens", []byte("admin-2\n"))
	newCertificates(t, a).issue("server") // of another authority, whose ca.pem is in place
	a.signal(syscall.SIGHUP)
	expect("operators-2", 0, "agent  e2e, running")
	expect("admin-2", 0, "agent  e2e, running")
	expect("operators-1", 1, "the token is not known here")
	a.stop()
}
