//go:build unix

package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/test/kafkakit"
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
