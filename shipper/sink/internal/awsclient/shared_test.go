package awsclient_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink"
	"github.com/standpipe/standpipe/shipper/sink/firehose"
	"github.com/standpipe/standpipe/shipper/sink/internal/awsclient"
	"github.com/standpipe/standpipe/shipper/sink/kinesis"
	"github.com/standpipe/standpipe/shipper/sink/s3"
	"github.com/standpipe/standpipe/shipper/sink/sqs"
	"github.com/standpipe/standpipe/test/certkit"
	"github.com/standpipe/standpipe/test/fakeaws"
)

// envKeys sets credentials in the environment, and no others.
func envKeys(t *testing.T) {
	noCredentials(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDFAKE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// The destinations of a pattern's streams are equal but for their timeouts and what they write to.
func TestShared_ThousandDestinationsHaveOneTransport(t *testing.T) {
	envKeys(t)
	before := awsclient.Loaded()
	o := sink.AWS{Region: "eu-west-1", Endpoint: "http://127.0.0.1:1"}
	var all []io.Closer
	for i := range 250 {
		name := fmt.Sprint("s-", i)
		o.Timeout = time.Duration(i) * time.Second
		all = append(all,
			must[*kinesis.Sink](t)(kinesis.New(t.Context(), kinesis.Options{Stream: name, AWS: o})),
			must[*firehose.Sink](t)(firehose.New(t.Context(), firehose.Options{DeliveryStream: name, AWS: o})),
			must[*sqs.Sink](t)(sqs.New(t.Context(), sqs.Options{QueueURL: "http://127.0.0.1:1/1/" + name, AWS: o})),
			must[*s3.Sink](t)(s3.New(t.Context(), s3.Options{Bucket: "bucket", Prefix: name, Stream: name, LogID: "l", AWS: o})),
		)
	}
	if got := awsclient.Loaded() - before; got != 1 {
		t.Errorf("got %d configurations for %d destinations, want 1", got, len(all))
	}
	for i, c := range all {
		if got := awsclient.InUse(); got != 1 {
			t.Fatalf("got %d configurations in use with %d of %d destinations closed, want 1", got, i, len(all))
		}
		c.Close()
		c.Close() // a second one releases nothing
	}
	if got := awsclient.InUse(); got != 0 {
		t.Errorf("got %d configurations in use at the end, want 0", got)
	}
}

// Each setting and each variable that a configuration depends on makes it another one.
func TestShared_OtherSettingsAreOtherConfigurations(t *testing.T) {
	envKeys(t)
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte("[profile p]\nregion = eu-west-1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CONFIG_FILE", file)
	for name, change := range map[string]func(o *sink.AWS){
		"nothing":     func(*sink.AWS) {},
		"region":      func(o *sink.AWS) { o.Region = "eu-west-2" },
		"endpoint":    func(o *sink.AWS) { o.Endpoint = "http://127.0.0.1:2" },
		"profile":     func(o *sink.AWS) { o.Profile = "p" },
		"role":        func(o *sink.AWS) { o.RoleARN = "arn:aws:iam::123456789012:role/ship" },
		"external id": func(o *sink.AWS) { o.RoleARN, o.ExternalID = "arn:aws:iam::123456789012:role/ship", "x" },
		"session":     func(o *sink.AWS) { o.RoleARN, o.SessionName = "arn:aws:iam::123456789012:role/ship", "x" },
		"environment": func(*sink.AWS) { t.Setenv("AWS_MAX_ATTEMPTS", "3") },
		"file":        func(*sink.AWS) { os.WriteFile(file, []byte("[profile p]\nregion = eu-west-22\n"), 0o600) },
	} {
		o := sink.AWS{Region: "eu-west-1", Endpoint: "http://127.0.0.1:1"}
		first := must[*kinesis.Sink](t)(kinesis.New(t.Context(), kinesis.Options{Stream: "a", AWS: o}))
		before := awsclient.Loaded()
		change(&o)
		second := must[*kinesis.Sink](t)(kinesis.New(t.Context(), kinesis.Options{Stream: "a", AWS: o}))
		want := 1
		if name == "nothing" {
			want = 0
		}
		if got := awsclient.Loaded() - before; got != want {
			t.Errorf("%s: got %d more configurations, want %d", name, got, want)
		}
		first.Close()
		second.Close()
		if got := awsclient.InUse(); got != 0 {
			t.Errorf("%s: got %d configurations in use at the end, want 0", name, got)
		}
	}
}

// A reload after a change of the CA bundle builds destinations that trust the new authority, and closes the connections
// of the old ones.
func TestShared_ChangedCABundle(t *testing.T) {
	envKeys(t)
	dir := t.TempDir()
	old, next := certkit.New(t, dir, "old"), certkit.New(t, dir, "next")
	bundle := filepath.Join(dir, "bundle.pem")
	install := func(a string) {
		t.Helper()
		pem, err := os.ReadFile(filepath.Join(dir, a))
		if err == nil {
			err = os.WriteFile(bundle+".tmp", pem, 0o600)
		}
		if err == nil {
			err = os.Rename(bundle+".tmp", bundle)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("AWS_CA_BUNDLE", bundle)
	a, b := startTLS(t, old, "a"), startTLS(t, next, "b")

	install("old.pem")
	before := awsclient.Loaded()
	var first []*kinesis.Sink
	for i := range 3 {
		first = append(first, openAt(t, a.URL, fmt.Sprint(i)))
		expectStored(t, first[i], true)
	}
	if got := a.opened.Load(); got != 1 {
		t.Errorf("got %d connections for requests one after another, want 1", got)
	}
	install("next.pem")
	trusting := openAt(t, a.URL, "new")
	expectStored(t, trusting, false) // no longer trusted
	other := openAt(t, b.URL, "new")
	expectStored(t, other, true)
	if got := awsclient.Loaded() - before; got != 3 {
		t.Errorf("got %d configurations, want 3: the old one, and the new one for each endpoint", got)
	}
	for i, k := range first {
		expectStored(t, k, true) // until it is closed
		if got := a.closed.Load(); got != 0 {
			t.Errorf("got %d connections closed before old destination %d was, want 0", got, i)
		}
		k.Close()
	}
	<-a.idle
	again := openAt(t, a.URL, "again")
	again.Close()
	if got := awsclient.Loaded() - before; got != 3 {
		t.Errorf("got %d configurations, want 3: the new one outlives the one that it replaced", got)
	}
	trusting.Close()
	other.Close()
	if got := awsclient.InUse(); got != 0 {
		t.Errorf("got %d configurations in use at the end, want 0", got)
	}
}

// secure is a service behind TLS.
type secure struct {
	*httptest.Server
	opened, closed atomic.Int64  // connections; closed: those that had a request
	idle           chan struct{} // a value: one more is closed
}

func startTLS(t *testing.T, a *certkit.Authority, name string) *secure {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(a.Issue(name, certkit.Localhost(name)))
	if err != nil {
		t.Fatal(err)
	}
	s := &secure{idle: make(chan struct{}, 100)}
	fake := fakeaws.Start(t)
	s.Server = httptest.NewUnstartedServer(fake)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that fail
	var used sync.Map                              // connections with a request
	s.Config.ConnState = func(c net.Conn, state http.ConnState) {
		switch _, known := used.Load(c); {
		case state == http.StateNew:
			s.opened.Add(1)
		case state == http.StateActive:
			used.Store(c, true)
		case state == http.StateClosed && known:
			s.closed.Add(1)
			s.idle <- struct{}{}
		}
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func openAt(t *testing.T, url, stream string) *kinesis.Sink {
	t.Helper()
	o := sink.AWS{Region: "eu-west-1", Endpoint: url}
	return must[*kinesis.Sink](t)(kinesis.New(t.Context(), kinesis.Options{Stream: stream, AWS: o}))
}

func expectStored(t *testing.T, k *kinesis.Sink, want bool) {
	t.Helper()
	got := k.Send(t.Context(), ofKey("k", "x"))
	if stored := got.Err == nil; stored != want {
		t.Fatalf("got %+v, want stored %v", got.Err, want)
	}
}

// Credentials are fetched once for all destinations, and once again when the service rejects them.
func TestShared_CredentialsAreFetchedOnce(t *testing.T) {
	noCredentials(t)
	var fetched atomic.Int64
	token := func() string { return fmt.Sprint("token-", fetched.Load()) }
	metadata := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fetched.Add(1)
		fmt.Fprintf(w, `{"AccessKeyId":"A","SecretAccessKey":"s","Token":%q,"Expiration":"2099-01-01T00:00:00Z"}`, token())
	}))
	defer metadata.Close()
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", metadata.URL)
	d := startDoorman(t, fakeaws.Start(t))
	var all []*kinesis.Sink
	for i := range 100 {
		all = append(all, openAt(t, d.URL, fmt.Sprint("s-", i)))
		defer all[i].Close()
	}
	sendAll := func(sinks []*kinesis.Sink) (failed int) {
		results := make(chan *shipper.Error, len(sinks))
		for _, k := range sinks {
			go func() { results <- k.Send(t.Context(), ofKey("k", "x")).Err }()
		}
		for range sinks {
			if err := <-results; err != nil {
				failed++
			}
		}
		return failed
	}
	if failed := sendAll(all); failed > 0 || fetched.Load() != 1 {
		t.Errorf("%d of %d requests failed, credentials were fetched %d times; want 0 and once", failed, len(all), fetched.Load())
	}
	d.expect("token-2", "ExpiredTokenException")
	if failed := sendAll(all[:1]); failed != 1 {
		t.Errorf("a request with a rejected token did not fail")
	}
	if failed := sendAll(all); failed > 0 || fetched.Load() != 2 {
		t.Errorf("%d of %d requests failed, credentials were fetched %d times; want 0 and twice", failed, len(all), fetched.Load())
	}
}
