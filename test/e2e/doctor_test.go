//go:build unix

package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/standpipe/standpipe/test/certkit"
	"github.com/standpipe/standpipe/test/kafkakit"
	"github.com/standpipe/standpipe/test/testkit"
)

// doctor finds the destinations that are there, and names the missing ones with a remedy, at services that others wrote. It
// does so beside a running agent, and stores nothing.
func TestDoctor_AtStandins(t *testing.T) {
	endToEnd(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	m := startMoto(t)
	m.create("there")
	queue := queuesAt(t, m.address).create("there")
	k := startKinesalite(t)
	k.create("there", 1)
	b := kafkakit.Start(t, nil)
	b.CreateTopic("there", 1)

	dir := t.TempDir()
	atMoto := fmt.Sprintf("region = %q\n    endpoint = \"http://%s\"", region, m.address)
	blocks := ""
	for _, name := range []string{"there", "missing"} {
		bucketName, url := bucket, queue
		if name == "missing" {
			bucketName, url = "missing", strings.Replace(queue, "there", "missing", 1)
		}
		blocks += fmt.Sprintf(`
stream %[1]q {
  destination "kinesis" "kinesis" {
    stream = %[1]q
    region = %[2]q
    endpoint = %[3]q
  }
  destination "firehose" "firehose" {
    delivery_stream = %[1]q
    %[4]s
  }
  destination "s3" "s3" {
    bucket = %[5]q
    path_style = true
    %[4]s
  }
  destination "sqs" "sqs" {
    queue_url = %[6]q
    %[4]s
  }
  destination "kafka" "kafka" {
    brokers = [%[7]q]
    topic = %[1]q
  }
}
`, name, region, k.endpoint(), atMoto, bucketName, url, b.Address())
	}
	file := filepath.Join(dir, "agent.hcl")
	conf := fmt.Sprintf("data_dir = %q\nadmin { address = \"unix://%s/admin.sock\" }\nlistener \"grpc\" { address = \"unix://%s/grpc.sock\" }\n%s",
		filepath.Join(dir, "data"), dir, dir, blocks)
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs := runProgram(t, "", "doctor", "--json", "--timeout", "60s", file)
	var d struct {
		OK     bool
		Checks []struct{ Name, Result, Text, Remedy string }
	}
	if err := json.Unmarshal([]byte(out), &d); err != nil || code != 1 || d.OK {
		t.Fatalf("got exit code %d, %v: %s%s", code, err, out, errs)
	}
	results := make(map[string]string)
	for _, c := range d.Checks {
		results[c.Name] = c.Result + ": " + c.Text + " -> " + c.Remedy
	}
	for _, typ := range []string{"kinesis", "firehose", "s3", "sqs", "kafka"} {
		if got := results["there/"+typ+" "+typ]; !strings.HasPrefix(got, "ok: ") {
			t.Errorf("%s: got %q, want it to be there", typ, got)
		}
		if got := results["missing/"+typ+" "+typ]; !strings.HasPrefix(got, "failed: ") || !strings.Contains(got, "create the ") {
			t.Errorf("%s: got %q, want it to be missing, with a remedy", typ, got)
		}
	}
	for _, name := range []string{"listener grpc", "admin", "sync", "clock"} {
		if got := results[name]; !strings.HasPrefix(got, "ok: ") {
			t.Errorf("%s: got %q", name, got)
		}
	}
	if objects := m.objects(); len(objects) > 0 {
		t.Errorf("got %d objects, want none", len(objects))
	}
}

// doctor names the reason for which another agent or a broker would take no events, and the remedy.
func TestDoctor_RelayAndKafkaFailures(t *testing.T) {
	endToEnd(t)
	last, c, guardedAt, _ := startGuarded(t)
	open := startAgent(t, "", streamBlock("in", fileDestination))
	c.write("unknown.token", []byte("unknown\n"))
	stranger := certkit.New(t, t.TempDir(), "ca")
	login, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser("PLAIN", "agent", "secret"), kfake.SeedTopics(1, "in"))
	testkit.Must(t, err)
	t.Cleanup(login.Close)
	plain, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "in"))
	testkit.Must(t, err)
	t.Cleanup(plain.Close)

	tlsBlock := func(ca string) string {
		return fmt.Sprintf("tls {\n      ca_file = %q\n      cert_file = %q\n      key_file = %q\n      server_name = \"localhost\"\n    }",
			ca, last.path("gauge-7.pem"), last.path("gauge-7.key"))
	}
	token := func(name string) string { return fmt.Sprintf("\n    token_file = %q", last.path(name)) }
	relay := func(address, inside string) string {
		return fmt.Sprintf("destination \"relay\" \"d\" {\n    address = %q\n    stream = \"in\"\n    %s\n  }", address, inside)
	}
	kafka := func(address, inside string) string {
		return fmt.Sprintf("destination \"kafka\" \"d\" {\n    brokers = [%q]\n    topic = \"in\"\n    %s\n  }", address, inside)
	}
	const nobody = "127.0.0.1:1"
	cases := []struct{ name, block, result, text, remedy string }{
		{"relay-open", relay(open.grpc, ""), "ok", "accepts events", ""},
		{"relay-secured", relay(guardedAt, tlsBlock(last.path("ca.pem"))+token("tokens")), "ok", "accepts events", ""},
		{"relay-nobody", relay(nobody, ""), "failed", "connection refused", nobody},
		{"relay-admin", relay(open.admin, ""), "failed", "", "grpc listener"},
		{"relay-no-tls", relay(guardedAt, ""), "failed", "", "tls"},
		{"relay-other-ca", relay(guardedAt, tlsBlock(stranger.Path("ca.pem"))+token("tokens")), "failed", "authority", "ca_file"},
		{"relay-token", relay(guardedAt, tlsBlock(last.path("ca.pem"))+token("unknown.token")), "failed", "UNAUTHENTICATED", "token_file"},
		{"relay-stream", strings.Replace(relay(open.grpc, ""), `"in"`, `"other"`, 1), "failed", "NOT_FOUND", "stream block"},
		{"relay-forbidden", strings.Replace(relay(guardedAt, strings.ReplaceAll(tlsBlock(last.path("ca.pem")), "gauge-7", "meter-7")), `"in"`, `"vault"`, 1), "failed", "PERMISSION_DENIED", "identity"},
		{"kafka-plain", kafka(plain.ListenAddrs()[0], ""), "ok", "the topic is there", ""},
		{"kafka-nobody", kafka(nobody, ""), "failed", "connection refused", nobody},
		{"kafka-no-login", kafka(login.ListenAddrs()[0], ""), "failed", "SASL", "sasl"},
		{"kafka-http", kafka(open.admin, ""), "failed", "", ""},
	}
	dir, blocks := t.TempDir(), ""
	for _, test := range cases {
		blocks += fmt.Sprintf("stream %q {\n  %s\n}\n", test.name, test.block)
	}
	file := filepath.Join(dir, "agent.hcl")
	conf := fmt.Sprintf("data_dir = %q\nadmin { address = \"unix://%s/admin.sock\" }\nlistener \"grpc\" { address = \"unix://%s/grpc.sock\" }\n%s",
		filepath.Join(dir, "data"), dir, dir, blocks)
	testkit.Must(t, os.WriteFile(file, []byte(conf), 0o600))
	_, out, errs := runProgram(t, "", "doctor", "--json", "--timeout", "60s", file)
	var d struct {
		Checks []struct{ Name, Result, Text, Remedy string }
	}
	if err := json.Unmarshal([]byte(out), &d); err != nil {
		t.Fatalf("got %v: %s%s", err, out, errs)
	}
	for _, test := range cases {
		found := false
		for _, check := range d.Checks {
			if !strings.HasPrefix(check.Name, test.name+"/") {
				continue
			}
			found = true
			if check.Result != test.result || !strings.Contains(check.Text, test.text) || !strings.Contains(check.Remedy, test.remedy) {
				t.Errorf("%s: got %s: %s -> %s", test.name, check.Result, check.Text, check.Remedy)
			}
		}
		if !found {
			t.Errorf("%s: no check", test.name)
		}
	}
}
