//go:build unix

package e2e_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/standpipe/standpipe/test/testkit"
)

// provision runs the command for the agent's file.
func (a *agent) provision(endpoint string, args ...string) (code int, stdout, stderr string) {
	a.t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.Command(standpipe, append([]string{"provision", a.path("agent.hcl")}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Env = append(os.Environ(), "AWS_ENDPOINT_URL="+endpoint, "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_EC2_METADATA_DISABLED=true")
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		a.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// The agent ships to what the command has created.
func TestProvision_CreatesWhatTheAgentShipsTo(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	m := startMoto(t)
	a := newAgent(t, "", streamBlock("sensors", fmt.Sprintf(`
  destination "kinesis" "live" {
    stream    = "sensors"
    aggregate = "none"
    aws {
      region   = "eu-west-1"
      endpoint = %q
    }
    provision {
      mode    = "provisioned"
      shards  = 1
      archive = true
    }
  }
  destination "firehose" "archive" {
    delivery_stream = "sensors"
    aws {
      region   = "eu-west-1"
      endpoint = %q
    }
    provision { bucket = %q }%s
  }`, m.endpoint(), m.endpoint(), bucket, quick)))

	const pending = 3
	if code, out, errs := a.provision(m.endpoint()); code != pending || !strings.Contains(out, "Kinesis stream sensors") || errs != "" {
		t.Fatalf("got %d, %s%s, want %d", code, out, errs, pending)
	}
	if code, out, errs := a.provision(m.endpoint(), "--apply"); code != 0 || strings.Contains(out, "create ") || !strings.Contains(errs, "creating  S3 bucket events") {
		t.Fatalf("got %d, %s%s, want 0", code, out, errs)
	}
	if code, out, errs := a.provision(m.endpoint()); code != 0 || strings.Contains(out, "create") || strings.Contains(out, "differs") {
		t.Fatalf("got %d, %s%s, want 0", code, out, errs)
	}

	a.start()
	sent := readings(7, 200)
	send(t, a.dial(), "sensors", sent)
	a.waitDelivered("sensors", len(sent), 5*time.Minute)
	a.stop()
	owing(sent).expectWhole(t, "bucket", m.read("sensor"), 0)
	client := kinesis.New(kinesis.Options{Region: region, BaseEndpoint: aws.String("http://" + m.address), Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")})
	shards, err := client.ListShards(t.Context(), &kinesis.ListShardsInput{StreamName: aws.String("sensors")})
	testkit.Must(t, err)
	from, err := client.GetShardIterator(t.Context(), &kinesis.GetShardIteratorInput{
		StreamName: aws.String("sensors"), ShardId: shards.Shards[0].ShardId, ShardIteratorType: types.ShardIteratorTypeTrimHorizon,
	})
	testkit.Must(t, err)
	got, err := client.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: from.ShardIterator})
	if err != nil || len(got.Records) != len(sent) {
		t.Errorf("got %d records, %v, want %d", len(got.Records), err, len(sent))
	}
}
