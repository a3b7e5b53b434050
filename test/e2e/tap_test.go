//go:build unix

package e2e_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/client"
)

// A reading goes on through kills of the agent, and returns each event once and in order.
func TestTap_GoesOnThroughKills(t *testing.T) {
	endToEnd(t)
	a := startAgent(t, "", streamBlock("clicks", fileDestination))
	c, err := client.Dial(a.grpc, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const n = 40
	put := func(i int) {
		if _, err := c.Append(t.Context(), "clicks", client.Event{Key: "k", Data: fmt.Appendf(nil, `{"n":%d}`, i)}); err != nil {
			t.Fatal(err)
		}
	}
	put(1)
	read := uint64(0)
	for e, err := range c.Read(t.Context(), "clicks", client.ReadOptions{FromOldest: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if read++; e.Offset != read || string(e.Data) != fmt.Sprintf(`{"n":%d}`, read) {
			t.Fatalf("got %s at offset %d, want number %d", e.Data, e.Offset, read)
		}
		if read == n {
			break
		}
		if read%10 == 0 {
			a.kill()
			a.start()
		}
		put(int(read) + 1)
	}
	code, out, log := runProgram(t, "", "tap", "clicks", "--address", a.grpc, "--from", "31", "--limit", "5")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if code != 0 || len(lines) != 5 {
		t.Fatalf("tap: got exit code %d and %q: %s", code, out, log)
	}
	for i, line := range lines {
		var e struct {
			ID     string
			Offset int
			Data   struct{ N int }
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.Offset != 31+i || e.Data.N != 31+i || !strings.HasSuffix(e.ID, fmt.Sprintf("/clicks/%d", e.Offset)) {
			t.Errorf("tap: got %s, %v", line, err)
		}
	}
	if code, _, log := runProgram(t, "", "tap", "clicks", "--address", a.grpc, "--from", "yesterday"); code != 2 || !strings.Contains(log, "yesterday") {
		t.Errorf("tap --from yesterday: got exit code %d: %s", code, log)
	}
}
