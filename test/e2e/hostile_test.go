//go:build unix

package e2e_test

import (
	"fmt"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/test/testkit"
)

// anonymous is the agent's anonymous memory in bytes.
func (a *agent) anonymous() int64 {
	a.t.Helper()
	bytes, err := anonymousOf(a.cmd.Process.Pid)
	if err != nil {
		a.t.Fatal(err)
	}
	return bytes
}

func anonymousOf(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	found := regexp.MustCompile(`RssAnon:\s+(\d+)`).FindStringSubmatch(string(text))
	if found == nil {
		return 0, fmt.Errorf("process %d has no RssAnon", pid)
	}
	kib, err := strconv.ParseInt(found[1], 10, 64)
	return kib << 10, err
}

// TestHostileClients opens more connections than there may be, and leaves each with half a request: the agent's
// memory stays bounded, and a producer is served beside them.
func TestHostileClients(t *testing.T) {
	endToEnd(t)
	const most = 320 << 20
	a := newAgent(t, "", "")
	web := testkit.FreeAddress(t)
	a.head += fmt.Sprintf("listener \"http\" { address = %q }\n", web)
	a.configure(streamBlock("s", fileDestination))
	a.start()
	producer := a.dialSocket()
	producer.expectStored(`{"stream":"s","key":"k","data":1}`)
	half := strings.Repeat("x", 128<<10)
	for range 1200 {
		for _, c := range []struct{ network, address, said string }{
			{"unix", a.path("events.sock"), half},
			{"tcp", web, "POST /v1/streams/s?key=k HTTP/1.1\r\nHost: x\r\nContent-Length: 16000000\r\n\r\n" + half},
			{"tcp", a.grpc, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x40\x00\x00"},
		} {
			conn, err := net.Dial(c.network, c.address)
			if err != nil {
				continue // it was turned away
			}
			defer conn.Close()
			go conn.Write([]byte(c.said)) // until the test closes it, or the agent
		}
		producer.expectStored(`{"stream":"s","key":"k","data":1}`)
	}
	producer.expectStored(`{"stream":"s","key":"k","data":1}`)
	if got := a.anonymous(); got > most {
		t.Errorf("got %d MiB of anonymous memory, want at most %d", got>>20, most>>20)
	} else {
		t.Logf("%d MiB of anonymous memory", got>>20)
	}
	a.stop()
}
