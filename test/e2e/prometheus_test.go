//go:build unix

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe/test/fakeaws"
	"github.com/standpipe/standpipe/test/testkit"
)

const operatorFiles = "../../deploy"

// prometheusServer scrapes an agent each second, and evaluates the alert rules.
type prometheusServer struct {
	*process
	t   *testing.T
	url string
}

func startPrometheus(t *testing.T, target string) *prometheusServer {
	t.Helper()
	program := testkit.Tool(t, "prometheus")
	rules, err := filepath.Abs(operatorFiles + "/prometheus/rules.yml")
	testkit.Must(t, err)
	dir := t.TempDir()
	config := fmt.Sprintf("global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [%q]\nscrape_configs:\n"+
		"- job_name: standpipe\n  static_configs: [{targets: [%q]}]\n", rules, target)
	testkit.Must(t, os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o600))
	address := testkit.FreeAddress(t)
	p := &prometheusServer{t: t, url: "http://" + address}
	p.process = startProcess(t, exec.Command(program, "--config.file="+filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address, "--log.level=warn"))
	p.waitListening(address)
	return p
}

// get decodes the data of a response of the API.
func (p *prometheusServer) get(path string, into any) error {
	resp, err := http.Get(p.url + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", path, resp.Status, body)
	}
	return json.Unmarshal(body, &struct{ Data any }{into})
}

// wantData waits until the expression returns a sample.
func (p *prometheusServer) wantData(name, expr string) {
	p.t.Helper()
	testkit.Eventually(p.t, 90*time.Second, func() error {
		var data struct{ Result []any }
		if err := p.get("/api/v1/query?query="+url.QueryEscape(expr), &data); err != nil {
			return err
		}
		if len(data.Result) == 0 {
			return fmt.Errorf("%s: no data for %s", name, expr)
		}
		return nil
	})
}

// queries returns the expressions of the dashboard by the panel's title, for a scrape each second.
func queries(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(operatorFiles + "/grafana/standpipe.json")
	testkit.Must(t, err)
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ RefID, Expr string }
		}
	}
	testkit.Must(t, json.Unmarshal(text, &dashboard))
	all := make(map[string]string)
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			all[panel.Title+" "+target.RefID] = strings.NewReplacer("$job", ".*", "$instance", ".*", "$__rate_interval", "15s").Replace(target.Expr)
		}
	}
	if len(all) < 20 {
		t.Fatalf("got %d queries in the dashboard, want at least 20", len(all))
	}
	return all
}

// denied is a service that an agent may not use.
func denied(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.WriteHeader(http.StatusBadRequest)
		io.WriteString(w, `{"__type":"AccessDeniedException","message":"not allowed"}`)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// An agent with traffic, a blocked destination and a dead letter has data for every expression of the dashboard and every series
// of the alert rules, and the alert for the blocked destination begins.
func TestPrometheus_EveryExpressionHasData(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	promtool := testkit.Tool(t, "promtool")
	fake := fakeaws.Start(t)
	fake.FailNext(fakeaws.Refuse(400, "InvalidArgumentException", "not today"))
	streams := streamBlock("clicks", "\n  format = \"text\"", firehoseDestination(fake.URL()),
		strings.Replace(firehoseDestination(denied(t)), `"archive"`, `"stuck"`, 1))
	// For the metric of a certificate.
	secure := fmt.Sprintf("listener \"http\" {\n  address = %q\n  tls {\n    cert_file = \"${dir}/server.pem\"\n"+
		"    key_file = \"${dir}/server.key\"\n  }\n}\n", testkit.FreeAddress(t))
	a := newAgent(t, "", secure+streams)
	newCertificates(t, a).issue("server")
	a.start()

	ctx, stop := context.WithCancel(t.Context())
	sent := make(chan struct{})
	client := a.dial()
	send(t, client, "clicks", []event{{"k", "data"}}) // alone, so that the service rejects it and not a batch
	a.waitDead("clicks", 1)
	go func() {
		defer close(sent)
		for ctx.Err() == nil {
			client.Append(ctx, request("clicks", event{"k", "data"}))
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	defer func() { stop(); <-sent }()

	p := startPrometheus(t, a.admin)
	for name, expr := range queries(t) {
		p.wantData("dashboard: "+name, expr)
	}
	rules, err := os.ReadFile(operatorFiles + "/prometheus/rules.yml")
	testkit.Must(t, err)
	for _, selector := range regexp.MustCompile(`(?:standpipe_\w+|\bup\b)(?:\{[^}]*\})?`).FindAllString(string(rules), -1) {
		p.wantData("rules", selector)
	}
	p.wantData("dead letters", `standpipe_dead_letters{stream="clicks",destination="archive"} == 1`)
	p.wantData("alert", `ALERTS{alertname="StandpipeDestinationBlocked",destination="stuck"}`)
	var evaluated struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError string }
		}
	}
	testkit.Must(t, p.get("/api/v1/rules", &evaluated))
	for _, g := range evaluated.Groups {
		for _, r := range g.Rules {
			if r.Health != "ok" {
				t.Errorf("rule %s: %s %s", r.Name, r.Health, r.LastError)
			}
		}
	}

	check := exec.Command(promtool, "check", "metrics")
	check.Stdin = strings.NewReader(a.get("/metrics"))
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

// Each alert begins in its condition, and not before. rules_test.yml has the conditions.
func TestPrometheus_RulesHoldTheirTests(t *testing.T) {
	endToEnd(t)
	promtool := testkit.Tool(t, "promtool")
	for _, args := range [][]string{{"check", "rules", "rules.yml"}, {"test", "rules", "rules_test.yml"}} {
		cmd := exec.Command(promtool, args...)
		cmd.Dir = operatorFiles + "/prometheus"
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}
