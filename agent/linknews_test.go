package agent_test

import (
	"strings"
	"testing"

	"github.com/standpipe/standpipe/agent"
	"github.com/standpipe/standpipe/agent/admin"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/test/fakeaws"
)

// runAtFirehose runs an agent whose stream s goes to the service as destination f, with a long time for each request.
func runAtFirehose(t *testing.T, aws *fakeaws.Server) (*agent.Agent, standpipev1.IngestClient) {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDFAKE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	conf := parse(t, t.TempDir(), strings.ReplaceAll(`
stream "s" {
  destination "firehose" "f" {
    delivery_stream = "s"
    retry { timeout = "10m" }
    batch { max_delay = "10ms" }
    aws {
      region   = "eu-west-1"
      endpoint = "URL"
    }
  }
}`, "URL", aws.URL()))
	a := run(t, conf)
	client := dial(t, conf)
	<-a.Running()
	return a, client
}

// While the link is down nothing is sent and events are accepted. Up sends them.
func TestLink_DownAndUp(t *testing.T) {
	aws := fakeaws.Start(t)
	a, client := runAtFirehose(t, aws)
	send(t, client, "s", 1)
	until(t, "nothing is delivered", func() bool { return destination(t, a, "s", "f").Delivered.Events == 1 })

	a.SetLink(false)
	a.SetLink(false)
	send(t, client, "s", 3)
	until(t, "the destination does not wait for the link", func() bool {
		d := destination(t, a, "s", "f")
		return d.State == admin.Waiting && strings.Contains(d.LastError, "link down: ")
	})
	if got := aws.Stored(); got != 1 {
		t.Errorf("down: got %d records at the service, want 1", got)
	}
	a.SetLink(true)
	until(t, "nothing is delivered after the link was set up", func() bool { return destination(t, a, "s", "f").Delivered.Events == 4 })
	if got := destination(t, a, "s", "f"); got.State != admin.Running {
		t.Errorf("up: got the state %s, want running", got.State)
	}
}

// A request that hangs ends when the link is set down, and its events are sent when it is up.
func TestLink_DownEndsRequestsUnderWay(t *testing.T) {
	aws := fakeaws.Start(t)
	arrived := make(chan struct{})
	aws.FailNext(fakeaws.Hang(func() { close(arrived) }))
	a, client := runAtFirehose(t, aws)
	send(t, client, "s", 1)
	<-arrived
	a.SetLink(false)
	until(t, "the request goes on", func() bool { return destination(t, a, "s", "f").State == admin.Waiting })
	a.SetLink(true)
	until(t, "nothing is delivered", func() bool { return destination(t, a, "s", "f").Delivered.Events == 1 })
}
