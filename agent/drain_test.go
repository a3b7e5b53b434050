package agent_test

import (
	"context"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent"
)

// startDraining runs an agent with the drain delay and stops it. It returns when /readyz is 503.
func startDraining(t *testing.T, delay string) (a *agent.Agent, sendOne func(), ended chan error) {
	t.Helper()
	dir := t.TempDir()
	conf := parse(t, dir, "drain_delay = \""+delay+"\"\nstream \"s\" {\n  destination \"file\" \"f\" { path = \"DIR/out\" }\n}")
	a, err := agent.New(t.Context(), conf, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended = make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	<-a.Running()
	client := dial(t, conf)
	sendOne = func() { send(t, client, "s", 1) }
	sendOne()
	if err := a.Ready(); err != nil {
		t.Errorf("got %v before the stop, want ready", err)
	}
	stop()
	until(t, "the agent is not ready", func() bool { return a.Ready() != nil })
	return a, sendOne, ended
}

// An app that is stopped together with its sidecar sends its last events.
func TestDrainDelay_AcceptsEventsWhileNotReady(t *testing.T) {
	a, sendOne, ended := startDraining(t, "1h")
	for range 3 {
		sendOne()
	}
	status := a.Status()
	if status.Agent.State != "draining" || status.Streams[0].Appended.Events != 4 {
		t.Errorf("got state %s and %d events, want draining and 4", status.Agent.State, status.Streams[0].Appended.Events)
	}
	a.Abort() // as the second signal does
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestDrainDelay_EndsInTheStop(t *testing.T) {
	_, _, ended := startDraining(t, "1ms")
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
