package awsclient_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink"
	"github.com/standpipe/standpipe/shipper/sink/firehose"
	"github.com/standpipe/standpipe/shipper/sink/kinesis"
	"github.com/standpipe/standpipe/shipper/sink/sinktest"
	"github.com/standpipe/standpipe/test/fakeaws"
)

// doorman is a server in front of a service. It rejects requests that are signed with a wrong token or at a wrong time.
type doorman struct {
	*httptest.Server
	clock atomic.Int64 // how far its clock is ahead of this host's: a time.Duration

	mu       sync.Mutex
	token    string // the only valid one; "": any is valid; guarded by mu
	code     string // of a rejection; guarded by mu
	text     string // of a rejection; guarded by mu
	requests int    // guarded by mu
}

func startDoorman(t *testing.T, srv *fakeaws.Server) *doorman {
	d := &doorman{}
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := time.Now().Add(time.Duration(d.clock.Load())).UTC()
		w.Header().Set("Date", now.Format(http.TimeFormat))
		if code, text := d.refuses(r, now); code != "" {
			w.Header().Set("Content-Type", "application/x-amz-json-1.1")
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"__type":%q,"message":%q}`, code, text)
			return
		}
		srv.ServeHTTP(w, r)
	}))
	t.Cleanup(d.Close)
	return d
}

func (d *doorman) refuses(r *http.Request, now time.Time) (code, text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.requests++
	signed, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	late := now.Sub(signed).Abs() > 5*time.Minute // a signature is valid for 5 minutes
	if err != nil || late || d.token != "" && r.Header.Get("X-Amz-Security-Token") != d.token {
		return d.code, d.text
	}
	return "", ""
}

// expect makes token the only valid one; others are rejected with code.
func (d *doorman) expect(token, code string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.token, d.code, d.text = token, code, "The security token included in the request is expired"
}

// issuer provides tokens in one of the ways that the SDK supports. They stay valid for at least an hour.
type issuer struct {
	name  string
	setUp func(t *testing.T, dir string) (give func(token string))
}

const credentialsJSON = `{"Version":1,"AccessKeyId":"AKIDFAKE","SecretAccessKey":"secret","SessionToken":%q,"Token":%q,"Expiration":%q}`

var issuers = []issuer{
	{"file", func(t *testing.T, dir string) func(string) {
		file := filepath.Join(dir, "credentials")
		t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file)
		return func(token string) {
			write(t, file, "[default]\naws_access_key_id = AKIDFAKE\naws_secret_access_key = secret\naws_session_token = "+token+"\n")
		}
	}},
	{"process", func(t *testing.T, dir string) func(string) {
		file, config := filepath.Join(dir, "answer"), filepath.Join(dir, "config")
		write(t, config, "[default]\ncredential_process = cat "+file+"\n")
		t.Setenv("AWS_CONFIG_FILE", config)
		return func(token string) { write(t, file, hourOf(token)) }
	}},
	{"endpoint", func(t *testing.T, _ string) func(string) {
		var mu sync.Mutex
		answer := ""
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			w.Write([]byte(answer))
		}))
		t.Cleanup(srv.Close)
		t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", srv.URL)
		return func(token string) {
			mu.Lock()
			defer mu.Unlock()
			answer = hourOf(token)
		}
	}},
}

func hourOf(token string) string {
	return fmt.Sprintf(credentialsJSON, token, token, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// opener opens a sink for one of the two services.
type opener struct {
	name string
	open func(t *testing.T, o sink.AWS) (shipper.Sink, error)
}

var openers = []opener{
	{"kinesis", func(t *testing.T, o sink.AWS) (shipper.Sink, error) {
		return kinesis.New(t.Context(), kinesis.Options{Stream: "clicks", AWS: o})
	}},
	{"firehose", func(t *testing.T, o sink.AWS) (shipper.Sink, error) {
		return firehose.New(t.Context(), firehose.Options{DeliveryStream: "clicks", AWS: o})
	}},
}

func (o opener) must(t *testing.T, with sink.AWS) shipper.Sink {
	t.Helper()
	s, err := o.open(t, with)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// The service rejects a token that expires only in an hour, as after a suspended host's sleep or a rotation of keys.
// The next request is signed with the new token, without a restart.
func TestCredentials_RejectedAreReplaced(t *testing.T) {
	for _, from := range issuers {
		for _, to := range openers {
			t.Run(from.name+"/"+to.name, func(t *testing.T) {
				noCredentials(t)
				give := from.setUp(t, t.TempDir())
				srv := fakeaws.Start(t)
				door := startDoorman(t, srv)
				o := srv.Options()
				o.Endpoint, o.Credentials = door.URL, nil
				s := to.must(t, o)
				mustFail(t, s, shipper.Operator, "credentials") // none are configured yet
				for i, c := range []struct {
					code  string
					class shipper.Class
				}{{"", 0}, {"ExpiredTokenException", shipper.Transient}, {"UnrecognizedClientException", shipper.Operator}} {
					token := fmt.Sprint("token-", i)
					door.expect(token, c.code)
					if i > 0 {
						mustFail(t, s, c.class, c.code)
						mustFail(t, s, c.class, c.code) // the new token does not exist yet
					}
					give(token)
					mustPut(t, s)
					mustPut(t, s)
				}
				if got, want := srv.Stored(), 6; got != want {
					t.Errorf("got %d records stored, want %d", got, want)
				}
			})
		}
	}
}

// A host's clock that is an hour off costs one request, because the responses of the service have the time.
func TestClock_WrongIsCorrected(t *testing.T) {
	for _, c := range []struct {
		code, text string
		class      shipper.Class
	}{
		{"InvalidSignatureException", "Signature expired: 20261121T084500Z is now earlier than 20261121T094000Z (20261121T094500Z - 5 min.)", shipper.Transient},
		{"InvalidSignatureException", "Signature not yet current: 20261121T104500Z is still later than 20261121T095000Z", shipper.Transient},
		{"RequestTimeTooSkewed", "The difference between the request time and the current time is too large.", shipper.Transient},
		{"RequestExpired", "Request has expired.", shipper.Transient},
		{"SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided.", shipper.Operator},
	} {
		for _, clock := range []time.Duration{time.Hour, -time.Hour} {
			for _, to := range openers {
				t.Run(fmt.Sprintf("%s/%s/%s", c.code, clock, to.name), func(t *testing.T) {
					srv := fakeaws.Start(t)
					door := startDoorman(t, srv)
					door.clock.Store(int64(clock))
					door.code, door.text = c.code, c.text
					o := srv.Options()
					o.Endpoint = door.URL
					s := to.must(t, o)
					mustFail(t, s, c.class, c.code)
					mustPut(t, s)
					mustPut(t, s)
					if door.requests != 3 || srv.Stored() != 2 {
						t.Errorf("got %d requests and %d records stored, want 3 and 2", door.requests, srv.Stored())
					}
				})
			}
		}
	}
}

func mustPut(t *testing.T, s shipper.Sink) {
	t.Helper()
	if got := s.Send(t.Context(), sinktest.Records(1)); got.Err != nil || got.Results[0] != nil {
		t.Fatalf("got %v %v, want a stored record", got.Err, got.Results)
	}
}

func mustFail(t *testing.T, s shipper.Sink, class shipper.Class, code string) {
	t.Helper()
	got := s.Send(t.Context(), sinktest.Records(1)).Err
	if got == nil || got.Class != class || !strings.HasPrefix(got.Code, code) {
		t.Fatalf("got %+v, want %s %s", got, class, code)
	}
}

// noCredentials hides the credentials of the host that runs the test.
func noCredentials(t *testing.T) {
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
		"AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_CONFIG_FILE", "/nonexistent")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
}
