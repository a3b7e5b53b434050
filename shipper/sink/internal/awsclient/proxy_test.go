package awsclient_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink"
	"github.com/standpipe/standpipe/shipper/sink/internal/awsclient"
	"github.com/standpipe/standpipe/shipper/sink/kinesis"
)

// withProxy makes proxy the environment's proxy for every request, those to loopback too.
func withProxy(t *testing.T, proxy string) {
	t.Helper()
	at, err := url.Parse(proxy)
	if err != nil {
		t.Fatal(err)
	}
	before := *awsclient.EnvironmentProxy
	*awsclient.EnvironmentProxy = func(*http.Request) (*url.URL, error) { return at, nil }
	t.Cleanup(func() { *awsclient.EnvironmentProxy = before })
}

func TestProxy_IsForServicesAlone(t *testing.T) {
	withProxy(t, "http://proxy.example:3128")
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "https://creds.site.example:8443/v2/x")
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "https://metadata.site.example")
	for at, direct := range map[string]bool{
		"http://169.254.170.2/v2/credentials/x":         true,
		"http://169.254.170.23/v1/credentials":          true,
		"http://169.254.169.254/latest/api/token":       true,
		"http://[fd00:ec2::254]/latest/api/token":       true,
		"http://[fd00:ec2::23]/v1/credentials":          true,
		"https://[fd00:ec2::23]/v1/credentials":         true,
		"https://[::ffff:169.254.170.2]/":               true,
		"https://169.254.170.2/":                        true,
		"https://[fe80::1]/":                            true,
		"http://agent.internal:51679/creds":             true, // a name of this host
		"https://127.0.0.2:51679/creds":                 true,
		"https://LOCALHOST/creds":                       true,
		"https://creds.site.example:8443/v2/x":          true,
		"https://metadata.site.example/latest":          true,
		"https://creds.site.example/":                   false,
		"https://sts.eu-west-1.amazonaws.com/":          false,
		"https://portal.sso.eu-west-1.amazonaws.com/":   false,
		"https://10.0.0.1/":                             false,
		"https://[fd00:dead::1]/":                       false,
		"https://169.254.170.2.evil.example/":           false,
		"https://vpce-1.sts.eu-west-1.vpce.example:443": false,
	} {
		r, err := http.NewRequest("GET", at, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := awsclient.CredentialsProxy(r)
		if err != nil || (got == nil) != direct {
			t.Errorf("%s: got %v, %v, want direct %v", at, got, err, direct)
		}
	}
}

// seen records the requests to a server.
type seen struct {
	mu    sync.Mutex
	paths []string
}

func (s *seen) note(r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paths = append(s.paths, r.Method+" "+r.URL.String()+" "+r.Header.Get("Authorization"))
}

func (s *seen) has(part string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(strings.Join(s.paths, "\n"), part)
}

// TestCredentials_AreFetchedDirectly sends a record through a proxy, with the credentials of a task, a pod and an
// instance, which the proxy must not see.
func TestCredentials_AreFetchedDirectly(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("task-secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, environment := range map[string]map[string]string{
		"task":     {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "METADATA/creds", "AWS_CONTAINER_AUTHORIZATION_TOKEN": "task-secret"},
		"pod":      {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "METADATA/creds", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": file},
		"instance": {"AWS_EC2_METADATA_SERVICE_ENDPOINT": "METADATA"},
	} {
		t.Run(name, func(t *testing.T) {
			var direct, proxied seen
			metadata := httptest.NewServer(giveKeys(&direct))
			defer metadata.Close()
			proxy := httptest.NewServer(forKinesisAlone(&proxied))
			defer proxy.Close()
			for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_EC2_METADATA_DISABLED"} {
				t.Setenv(name, "")
			}
			t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file+".absent")
			t.Setenv("AWS_CONFIG_FILE", file+".absent")
			for name, value := range environment {
				t.Setenv(name, strings.Replace(value, "METADATA", metadata.URL, 1))
			}
			withProxy(t, proxy.URL)
			sendOne(t)
			if !proxied.has("POST http://kinesis.example/") {
				t.Error("the service is not asked by way of the proxy")
			}
			if proxied.has(metadata.URL) || proxied.has("task-secret") {
				t.Errorf("the proxy sees how credentials are fetched: %q", proxied.paths)
			}
			if !direct.has("/creds") && !direct.has("/security-credentials/role") {
				t.Errorf("nothing was fetched directly: %q", direct.paths)
			}
		})
	}
}

// TestCredentials_HaveOneClient checks the clients themselves: by default the SDK uses another client for the endpoints
// of containers, and TestCredentials_AreFetchedDirectly can't show that, because net/http uses no proxy for loopback.
func TestCredentials_HaveOneClient(t *testing.T) {
	withProxy(t, "http://proxy.example:3128")
	var chain config.LoadOptions
	for _, set := range awsclient.LoadOptions(sink.AWS{}) {
		if err := set(&chain); err != nil {
			t.Fatal(err)
		}
	}
	var container endpointcreds.Options
	chain.EndpointCredentialOptions(&container)
	r, err := http.NewRequest("GET", "http://169.254.170.2/v2/credentials/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, client := range map[string]any{"container": container.HTTPClient, "chain": chain.HTTPClient} {
		c, ok := client.(*awshttp.BuildableClient)
		if !ok {
			t.Fatalf("%s: got a client of type %T", name, client)
		}
		if got, err := c.GetTransport().Proxy(r); got != nil || err != nil {
			t.Errorf("%s: got proxy %v, %v", name, got, err)
		}
	}
}

func sendOne(t *testing.T) {
	t.Helper()
	o := sink.AWS{Region: "eu-west-1", Endpoint: "http://kinesis.example", Timeout: 10 * time.Second}
	k, err := kinesis.New(t.Context(), kinesis.Options{Stream: "s", AWS: o})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	got := k.Send(t.Context(), []shipper.Record{{Key: "k", Data: []byte("x"), First: 1, Last: 1, Events: 1}})
	if got.Err != nil {
		t.Errorf("send: %v", got.Err)
	}
}

// giveKeys returns the metadata service of a task and of an instance.
func giveKeys(s *seen) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.note(r)
		switch {
		case r.URL.Path == "/latest/api/token":
			w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "600")
			io.WriteString(w, "session")
		case strings.HasSuffix(r.URL.Path, "/security-credentials/"):
			io.WriteString(w, "role")
		default:
			io.WriteString(w, `{"Code":"Success","AccessKeyId":"ASIAX","SecretAccessKey":"s","Token":"t","Expiration":"2099-01-01T00:00:00Z"}`)
		}
	}
}

// forKinesisAlone returns a proxy that allows requests to one service only.
func forKinesisAlone(s *seen) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.note(r)
		if !strings.HasPrefix(r.URL.String(), "http://kinesis.example/") {
			http.Error(w, "denied", http.StatusForbidden)
			return
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		fmt.Fprint(w, `{"FailedRecordCount":0,"Records":[{"SequenceNumber":"1","ShardId":"shardId-000000000000"}]}`)
	}
}
