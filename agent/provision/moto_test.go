package provision_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/standpipe/standpipe/test/testkit"
)

// firehoseQuota is the limit of Firehose streams in the account.
const firehoseQuota = 12

// account is moto, with a recorder in front of it.
type account struct {
	t       *testing.T
	address string

	mu     sync.Mutex
	calls  []string // of the form service:Operation; guarded by mu
	failAt int      // the number of the call that fails, although AWS has carried it out; 0: none; guarded by mu
	failed string   // that call; guarded by mu
}

// startAccount starts an empty account, and points the SDK to it.
func startAccount(t *testing.T) *account {
	t.Helper()
	if testing.Short() {
		t.Skip("-short leaves out the tests with stand-ins")
	}
	folder := os.Getenv("STANDPIPE_STANDINS")
	if folder == "" {
		folder = filepath.Join("..", "..", ".standins")
	}
	if _, err := os.Stat(filepath.Join(folder, "installed")); err != nil {
		testkit.Missing(t, "the stand-ins for AWS", err)
	}
	program, err := filepath.Abs(filepath.Join(folder, "py", "bin", "moto_server"))
	if err != nil {
		t.Fatal(err)
	}
	a := &account{t: t, address: testkit.FreeAddress(t)}
	_, port, _ := net.SplitHostPort(a.address)
	cmd := exec.Command(program, "-H", "127.0.0.1", "-p", port)
	cmd.Env = append(os.Environ(), "PYTHONWARNINGS=ignore")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	testkit.Eventually(t, time.Minute, func() error {
		c, err := net.Dial("tcp", a.address)
		if err == nil {
			c.Close()
		}
		return err
	})
	upstream, _ := url.Parse("http://" + a.address)
	proxy := httputil.NewSingleHostReverseProxy(upstream)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		this, answer := call(r, body), http.Handler(proxy)
		if this == "servicequotas:GetServiceQuota" { // moto has quotas of networks only
			answer = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, `{"Quota":{"Value":%d}}`, firehoseQuota) })
		}
		fails := a.record(this)
		var answered http.ResponseWriter = w
		if fails {
			answered = httptest.NewRecorder()
		}
		answer.ServeHTTP(answered, r)
		a.tag(this, r, body)
		if fails {
			reject(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": srv.URL, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "", "AWS_REGION": "", "AWS_DEFAULT_REGION": "",
		"AWS_CONFIG_FILE": filepath.Join(t.TempDir(), "none"), "AWS_SHARED_CREDENTIALS_FILE": filepath.Join(t.TempDir(), "none"), "AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(name, value)
	}
	return a
}

// record notes a call, and reports whether it is to fail.
func (a *account) record(call string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls = append(a.calls, call)
	if len(a.calls) != a.failAt {
		return false
	}
	a.failed = call
	return true
}

// reset empties the account, and lets the call with this number fail; 0: none.
func (a *account) reset(failAt int) {
	a.t.Helper()
	r, err := http.Post("http://"+a.address+"/moto-api/reset", "", nil)
	if err != nil {
		a.t.Fatal(err)
	}
	r.Body.Close()
	a.forget(failAt)
}

// forget begins a new record of calls.
func (a *account) forget(failAt int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls, a.failAt, a.failed = nil, failAt, ""
}

// recorded returns the calls.
func (a *account) recorded() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.calls)
}

// changes returns the calls that change something.
func (a *account) changes() []string {
	return slices.DeleteFunc(a.recorded(), func(call string) bool {
		_, operation, _ := strings.Cut(call, ":")
		return reading.MatchString(operation)
	})
}

var (
	scope   = regexp.MustCompile(`Credential=[^/]+/[0-9]+/[^/]+/([a-z0-9]+)/`)
	action  = regexp.MustCompile(`(?:^|&)Action=([A-Za-z]+)`)
	reading = regexp.MustCompile("^(Get|List|Describe)")
)

// call returns the service and the operation of a request.
func call(r *http.Request, body []byte) string {
	service := ""
	if found := scope.FindStringSubmatch(r.Header.Get("Authorization")); found != nil {
		service = found[1]
	}
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		return service + ":" + target[strings.LastIndex(target, ".")+1:]
	}
	if found := action.FindSubmatch(body); found != nil {
		return service + ":" + string(found[1])
	}
	verb := map[string]string{http.MethodGet: "Get", http.MethodPut: "Put", http.MethodHead: "Head"}[r.Method]
	for setting, name := range map[string]string{"publicAccessBlock": "BucketPublicAccessBlock", "encryption": "EncryptionConfiguration", "lifecycle": "LifecycleConfiguration", "tagging": "BucketTagging"} {
		if r.URL.Query().Has(setting) {
			return service + ":" + verb + name
		}
	}
	return service + ":" + map[string]string{"Put": "CreateBucket", "Head": "ListBucket"}[verb]
}

// tag sets the tags that a request creates a stream or a bucket with. AWS does so itself; moto ignores them.
func (a *account) tag(call string, r *http.Request, body []byte) {
	var method, path, target string
	var set []byte
	switch {
	case call == "kinesis:CreateStream" && bytes.Contains(body, []byte(`"Tags"`)):
		method, path, target, set = http.MethodPost, "/", "Kinesis_20131202.AddTagsToStream", body
	case call == "s3:CreateBucket":
		tags := regexp.MustCompile(`<Tag>.*</Tag>`).Find(body)
		method, path, set = http.MethodPut, r.URL.Path+"?tagging", []byte("<Tagging><TagSet>"+string(tags)+"</TagSet></Tagging>")
	default:
		return
	}
	request, err := http.NewRequest(method, "http://"+a.address+path, bytes.NewReader(set))
	if err != nil {
		a.t.Error(err)
		return
	}
	request.Header = r.Header.Clone()
	request.Header.Del("Content-Length")
	if target != "" {
		request.Header.Set("X-Amz-Target", target)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		a.t.Error(err)
		return
	}
	response.Body.Close()
	if response.StatusCode/100 != 2 {
		a.t.Errorf("the tags of %s: %s", call, response.Status)
	}
}

// reject answers that the right is missing, in the form of the service.
func reject(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Header.Get("X-Amz-Target") != "":
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.WriteHeader(http.StatusBadRequest)
		io.WriteString(w, `{"__type":"AccessDeniedException","message":"no right"}`)
	case r.Method == http.MethodPost:
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, `<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>no right</Message></Error></ErrorResponse>`)
	default:
		w.WriteHeader(http.StatusForbidden)
		if r.Method != http.MethodHead {
			fmt.Fprint(w, `<Error><Code>AccessDenied</Code><Message>no right</Message></Error>`)
		}
	}
}
