package gateway_test

import (
	"fmt"
	"os/exec"
	"testing"
	"time"

	"github.com/standpipe/standpipe/test/gateway"
	"github.com/standpipe/standpipe/test/testkit"
)

// openSite returns an agent that relays to a second one beyond the link.
func openSite(t *testing.T, q gateway.Quality, retry string) (near, far *agent, world *gateway.World) {
	t.Helper()
	const address = gateway.ServiceAddress + ":7710"
	streams, _ := fileStreams(t, 1)
	far = newAgent(t, "", fmt.Sprintf("listener \"grpc\" {\n  address  = %q\n  insecure = true\n}\n%s", address, streams))
	near = newAgent(t, "", fmt.Sprintf("stream \"s0\" {\n  destination \"relay\" \"site\" {\n    address = %q\n    %s\n  }\n}\n", address, retry))
	world = gateway.Open(t, q)
	for host, a := range map[*gateway.Host]*agent{world.Agent: near, world.Service: far} {
		a.launch = func(cmd *exec.Cmd) (err error) {
			host.Do(func() { err = cmd.Start() })
			return err
		}
	}
	far.start()
	near.start()
	return near, far, world
}

// A backlog of 120 KB on a link that takes 32 KB before a timeout arrives, and little of it is sent twice.
func TestSlowLink_RelaySendsLittleTwice(t *testing.T) {
	t.Parallel()
	near, far, world := openSite(t, gateway.Quality{Rate: 32_000, Delay: 100 * time.Millisecond, Queue: 64 << 10}, `retry { timeout = "8s" }`)
	world.Link.Set(false)
	near.produce("s0", 601)
	before := world.Link.Traffic()
	world.Link.Set(true)
	testkit.Eventually(t, 5*time.Minute, func() error {
		d, err := far.status()
		if err == nil && d.Delivered < 601 {
			err = fmt.Errorf("%d of 601 events have arrived", d.Delivered)
		}
		return err
	})
	sent := world.Link.Traffic().Up - before.Up
	t.Logf("%d bytes sent for %d of events", sent, 601*eventSize)
	if sent > 601*eventSize*15/10 {
		t.Errorf("got %d bytes on the link for %d of events", sent, 601*eventSize)
	}
}
