package provisioncmd_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/clitest"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/provisioncmd"
	"github.com/standpipe/standpipe/test/draw"
)

// stream is a Kinesis stream of an account.
type stream struct {
	status    string
	shards    int // 0: on demand
	encrypted bool
}

// account is AWS with Kinesis streams. Nothing else is there at first, and a quota of Firehose cannot be read.
type account struct {
	mu      sync.Mutex
	streams map[string]*stream // guarded by mu
	denied  string             // the operation that fails; guarded by mu
}

// newAccount points the SDK to a new account.
func newAccount(t *testing.T) *account {
	t.Helper()
	a := &account{streams: make(map[string]*stream)}
	srv := httptest.NewServer(a)
	t.Cleanup(srv.Close)
	none := filepath.Join(t.TempDir(), "none")
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": srv.URL, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": none, "AWS_SHARED_CREDENTIALS_FILE": none, "AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(name, value)
	}
	return a
}

func (a *account) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	target := r.Header.Get("X-Amz-Target")
	operation := target[strings.LastIndex(target, ".")+1:]
	if operation == "" && r.Method == http.MethodPost { // the query protocol, in a form
		operation = r.PostFormValue("Action")
	}
	var of struct {
		StreamName        string
		ShardCount        int
		StreamModeDetails struct{ StreamMode string }
	}
	if target != "" {
		json.NewDecoder(r.Body).Decode(&of)
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	fail := func(status int, code string) {
		w.WriteHeader(status)
		if target != "" {
			fmt.Fprintf(w, `{"__type":%q,"message":"the reason"}`, code)
		} else {
			fmt.Fprintf(w, `<ErrorResponse><Error><Code>%s</Code><Message>the reason</Message></Error></ErrorResponse>`, code)
		}
	}
	s := a.streams[of.StreamName]
	switch {
	case operation == a.denied && operation != "":
		fail(http.StatusBadRequest, "AccessDeniedException")
	case operation == "GetCallerIdentity":
		io.WriteString(w, `<GetCallerIdentityResponse><GetCallerIdentityResult><Account>111122223333</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`)
	case operation == "CreateStream":
		a.streams[of.StreamName] = &stream{status: "ACTIVE", shards: of.ShardCount}
		io.WriteString(w, "{}")
	case operation == "StartStreamEncryption":
		s.encrypted = true
		io.WriteString(w, "{}")
	case operation == "DescribeStreamSummary" && s != nil:
		mode, shards, encryption := "ON_DEMAND", 4, "NONE"
		if s.shards > 0 {
			mode, shards = "PROVISIONED", s.shards
		}
		if s.encrypted {
			encryption = "KMS"
		}
		fmt.Fprintf(w, `{"StreamDescriptionSummary":{"StreamName":%q,"StreamStatus":%q,"OpenShardCount":%d,"EncryptionType":%q,"StreamModeDetails":{"StreamMode":%q}}}`,
			of.StreamName, s.status, shards, encryption, mode)
	case operation == "ListTagsForStream":
		io.WriteString(w, `{"Tags":[],"HasMoreTags":false}`)
	case operation == "DescribeLimits":
		io.WriteString(w, `{"ShardLimit":10000,"OpenShardCount":0,"OnDemandStreamCount":0,"OnDemandStreamCountLimit":1000}`)
	case operation == "DescribeStreamSummary" || operation == "DescribeDeliveryStream":
		fail(http.StatusBadRequest, "ResourceNotFoundException")
	case operation == "GetServiceQuota":
		fail(http.StatusBadRequest, "AccessDeniedException")
	case operation == "GetRole":
		fail(http.StatusNotFound, "NoSuchEntity")
	case operation == "GetAccountSummary":
		io.WriteString(w, `<GetAccountSummaryResponse><GetAccountSummaryResult><SummaryMap><entry><key>RolesQuota</key><value>1000</value></entry></SummaryMap></GetAccountSummaryResult></GetAccountSummaryResponse>`)
	case r.Method == http.MethodHead: // a bucket
		w.WriteHeader(http.StatusNotFound)
	case target != "":
		io.WriteString(w, "{}")
	default:
		fmt.Fprintf(w, "<%[1]sResponse><%[1]sResult></%[1]sResult></%[1]sResponse>", operation)
	}
}

// plan is the JSON of the command.
type plan struct {
	Resources []struct {
		Action, Kind, Name, Region, Settings string
		Differences                          []struct{ Setting, Have, Want string }
	}
	Notes []string
}

func (p plan) count(actions ...string) (n int) {
	for _, r := range p.Resources {
		for _, action := range actions {
			if r.Action == action {
				n++
			}
		}
	}
	return n
}

func provision(t *testing.T, file string, args ...string) clitest.Outcome {
	t.Helper()
	name := filepath.Join(t.TempDir(), "agent.hcl")
	if err := os.WriteFile(name, []byte("aws { region = \"eu-west-1\" }\n"+file), 0o600); err != nil {
		t.Fatal(err)
	}
	return clitest.Run(provisioncmd.New, append([]string{"provision", name}, args...)...)
}

// provisionJSON runs the command with --json, and requires the fields that the documentation names and no others.
func provisionJSON(t *testing.T, file string, args ...string) (p plan, got clitest.Outcome) {
	t.Helper()
	got = provision(t, file, append(args, "--json")...)
	d := json.NewDecoder(strings.NewReader(got.Stdout))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil || d.More() {
		t.Fatalf("got %+v, %v, want one object with known fields", got, err)
	}
	if p.Resources == nil || p.Notes == nil {
		t.Errorf("got %s, want two lists", got.Stdout)
	}
	for _, r := range p.Resources {
		if !strings.Contains(" create finish keep created ", " "+r.Action+" ") || r.Kind == "" || r.Name == "" || r.Region == "" || r.Settings == "" {
			t.Errorf("got %+v, want a known action and no empty field", r)
		}
	}
	return p, got
}

// expectTable requires a table to have everything of the plan, in lines of at most 80 characters. A longer word has its own line.
func expectTable(t *testing.T, table string, p plan) {
	t.Helper()
	for line := range strings.Lines(table) {
		line = strings.TrimSuffix(line, "\n")
		if words := strings.Fields(line); utf8.RuneCountInString(line) > cli.TextWidth && len(words) > 1 || strings.HasSuffix(line, " ") || len(words) == 0 {
			t.Errorf("got the line %q, want at most %d characters", line, cli.TextWidth)
		}
	}
	got := " " + strings.Join(strings.Fields(table), " ") + " "
	next := func(format string, args ...any) {
		t.Helper()
		text := " " + strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " ") + " "
		_, after, found := strings.Cut(got, text)
		if !found {
			t.Fatalf("got\n%s\nwant%sbehind the lines before it", table, text)
		}
		got = " " + after
	}
	for _, r := range p.Resources {
		next("%s %s %s (%s): %s", r.Action, r.Kind, r.Name, r.Region, r.Settings)
		for _, d := range r.Differences {
			next("differs %s is %s, and %s in the file", d.Setting, d.Have, d.Want)
		}
	}
	for _, note := range p.Notes {
		next("note %s", note)
	}
}

// drawFile returns a configuration with n destinations, and draws the Kinesis streams of the account.
func drawFile(r *rand.Rand, a *account, n int) string {
	var b strings.Builder
	for i := range n {
		name := fmt.Sprintf("%d-%s", i, strings.Repeat("x", r.IntN(120)))
		if r.IntN(4) == 0 {
			fmt.Fprintf(&b, "stream \"s%d\" {\n destination \"firehose\" \"lake\" { delivery_stream = %q }\n}\n", i, name[:min(len(name), 64)])
			continue
		}
		if r.IntN(2) == 0 {
			a.streams[name] = &stream{status: []string{"ACTIVE", "CREATING", "DELETING"}[r.IntN(3)], shards: r.IntN(3), encrypted: r.IntN(2) == 0}
		}
		settings := ""
		if r.IntN(2) == 0 {
			settings = fmt.Sprintf("mode = \"provisioned\"\nshards = %d\n", 1+r.IntN(3))
		}
		if r.IntN(2) == 0 {
			settings += "archive = true\n"
		}
		fmt.Fprintf(&b, "stream \"s%d\" {\n destination \"kinesis\" \"live\" {\n stream = %q\n provision {\n%s}\n}\n}\n", i, name, settings)
	}
	return b.String()
}

func TestProvision_PlansAreTheSameForPeopleAndPrograms(t *testing.T) {
	seed := draw.Seed(t)
	r := rand.New(rand.NewPCG(seed, 0))
	for _, n := range []int{1, 2, 2 + r.IntN(10), 2 + r.IntN(10), 50} {
		a := newAccount(t)
		file := drawFile(r, a, n)
		p, got := provisionJSON(t, file)
		pending := p.count("create", "finish") // alarms are always missing
		if got.Code != provisioncmd.ExitPending || got.Stderr != "" || pending < n || p.count("created") > 0 {
			t.Errorf("%d destinations: got the exit code %d, %q and %d pending resources, want %d and at least %d", n, got.Code, got.Stderr, pending, provisioncmd.ExitPending, n)
		}
		table := provision(t, file)
		if table.Code != got.Code || table.Stderr != "" {
			t.Errorf("%d destinations: got %d, %q, want %d", n, table.Code, table.Stderr, got.Code)
		}
		expectTable(t, table.Stdout, p)
		if want := cli.Number(pending, "resource") + " to create: run it again with --apply."; !strings.Contains(table.Stdout, want) {
			t.Errorf("got\n%s\nwant %q", table.Stdout, want)
		}
	}
}

func TestProvision_NothingIsNeededWithoutSuchADestination(t *testing.T) {
	newAccount(t)
	file := "stream \"a\" {\n destination \"file\" \"all\" { path = \"/var/lib/standpipe/out/\" }\n}\n"
	if p, got := provisionJSON(t, file); len(p.Resources)+len(p.Notes) > 0 || got.Code != 0 || got.Stderr != "" {
		t.Errorf("got %+v, %+v, want an empty plan", p, got)
	}
	const want = "No kinesis or firehose destination: nothing is needed.\n"
	if got := provision(t, file); got.Stdout != want || got.Code != 0 || got.Stderr != "" {
		t.Errorf("got %+v, want %q", got, want)
	}
}

const oneStream = "stream \"a\" {\n destination \"kinesis\" \"live\" { stream = \"clicks\" }\n}\n"

func TestProvision_ApplyPrintsProgressAndThePlan(t *testing.T) {
	a := newAccount(t)
	p, got := provisionJSON(t, oneStream, "--apply")
	if got.Code != 0 || p.count("created") != len(p.Resources) || len(p.Resources) != 3 {
		t.Errorf("got %+v, want 3 created resources", got)
	}
	for _, r := range p.Resources {
		for _, text := range []string{"creating", "created "} {
			if line := text + "  " + r.Kind + " " + r.Name + "\n"; strings.Count(got.Stderr, line) != 1 {
				t.Errorf("got the progress %q, want %q once", got.Stderr, line)
			}
		}
	}
	if s := a.streams["clicks"]; s == nil || !s.encrypted {
		t.Errorf("got the stream %+v, want an encrypted one", s)
	}

	// The alarms of this account are never there, so the second plan has them again. The stream is kept.
	table := provision(t, oneStream)
	if !strings.HasPrefix(table.Stdout, "keep     Kinesis stream clicks (eu-west-1): on demand, encrypted\ncreate   CloudWatch alarm standpipe-kinesis-clicks-") {
		t.Errorf("got\n%s", table.Stdout)
	}
}

func TestProvision_FailureOfApplyHasThePlanAndTheError(t *testing.T) {
	a := newAccount(t)
	a.denied = "PutMetricAlarm"
	p, got := provisionJSON(t, oneStream, "--apply")
	if got.Code != 1 || p.count("created") != 1 || p.count("create") != 2 {
		t.Errorf("got %+v, want one created resource of three", got)
	}
	for _, want := range []string{`standpipe: provision: CloudWatch alarm "standpipe-kinesis-clicks-`, "cloudwatch:PutMetricAlarm: AccessDeniedException: the reason; allow cloudwatch:PutMetricAlarm",
		"\n1 of 3 created; run the command again to go on\n"} {
		if !strings.Contains(got.Stderr, want) {
			t.Errorf("got %q, want %q in it", got.Stderr, want)
		}
	}
}

func TestProvision_FailureOfAPlanHasNoOutput(t *testing.T) {
	a := newAccount(t)
	a.denied = "DescribeStreamSummary"
	for _, args := range [][]string{nil, {"--json"}, {"--apply"}} {
		got := provision(t, oneStream, args...)
		if got.Code != 1 || got.Stdout != "" || !strings.Contains(got.Stderr, `provision: Kinesis stream "clicks": kinesis:DescribeStreamSummary: AccessDeniedException`) {
			t.Errorf("%q: got %+v, want an error alone", args, got)
		}
	}
}

func TestProvision_DifferencesDoNotChangeTheExitCode(t *testing.T) {
	a := newAccount(t)
	a.streams["clicks"] = &stream{status: "ACTIVE", shards: 2, encrypted: true}
	got := provision(t, oneStream, "--apply")
	const want = "keep     Kinesis stream clicks (eu-west-1): on demand, encrypted\n  differs  capacity is 2 shards, and on demand in the file\n"
	if got.Code != 0 || !strings.HasPrefix(got.Stdout, want) || !strings.HasSuffix(got.Stdout, "\n1 resource that exists differs from the file, and stays as it is.\n") {
		t.Errorf("got %+v, want 0 and\n%s", got, want)
	}
}

func TestProvision_InvalidCommandLines(t *testing.T) {
	newAccount(t)
	for _, args := range [][]string{{"--apply", "--terraform", "x"}, {"--json", "--terraform", "x"}, {"another.hcl"}, {"--nosuch"}} {
		if got := provision(t, oneStream, args...); got.Code != cli.ExitUsage || got.Stdout != "" {
			t.Errorf("%q: got %+v, want %d", args, got, cli.ExitUsage)
		}
	}
	if got := provision(t, oneStream, "--stream", "b"); got.Code != 1 || !strings.Contains(got.Stderr, `stream "b": no block of the file matches`) {
		t.Errorf("got %+v, want 1", got)
	}
	if got := provision(t, "stream {"); got.Code != 1 || !strings.Contains(got.Stderr, "standpipe validate") {
		t.Errorf("got %+v, want 1", got)
	}
}
