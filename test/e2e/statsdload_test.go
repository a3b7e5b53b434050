//go:build linux

package e2e_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe/test/testkit"

	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
)

// STANDPIPE_E2E_STATSD_EVENTS events with 50,000 tag values, 100,000 a second, cost less than 64 MiB of memory and 1,000 series.
// Both servers count each event.
func TestStatsd_ManyTagValuesAreBounded(t *testing.T) {
	endToEnd(t)
	events := number(t, "STANDPIPE_E2E_STATSD_EVENTS", 100_000)
	const values, aSecond, batch = 50_000, 100_000, 1000
	plain, dog := startStatsd(t), startExporter(t)
	limited := func(name, address, flavor string) string {
		return strings.NewReplacer("300ms", "2s", "max_series = 200", "max_series = 1000").Replace(statsdTo(name, address, flavor))
	}
	a := startAgent(t, "wal {\n  max_size = \"8GiB\"\n}\n",
		"stream \"clicks\" {"+limited("plain", "udp://"+plain.udp, "statsd")+limited("dog", "unixgram://"+dog.unix, "dogstatsd")+"\n}\n")
	most, end := make(chan int64), make(chan struct{})
	go sampleMemory(a.cmd.Process.Pid, end, most)
	before, begin := cpuSeconds(t, a.cmd.Process.Pid), time.Now()
	calls, err := a.dial().AppendStream(t.Context())
	testkit.Must(t, err)
	go func() {
		for i := 0; i < events; i += batch {
			r := &standpipev1.AppendRequest{Stream: "clicks"}
			for j := i; j < min(i+batch, events); j++ {
				r.Events = append(r.Events, &standpipev1.Event{PartitionKey: fmt.Sprint("k", j%20),
					Data: fmt.Appendf(nil, `{"name":"click","market":"m%d","user":{"plan":"p%d"}}`, j*7919%values, j%2)})
			}
			if calls.Send(r) != nil {
				return
			}
			time.Sleep(time.Until(begin.Add(time.Duration(i+batch) * time.Second / aSecond)))
		}
		calls.CloseSend()
	}()
	for acked := 0; acked < events; {
		r, err := calls.Recv()
		testkit.Must(t, err)
		acked += int(r.Count)
	}
	rate := float64(events) / time.Since(begin).Seconds()
	a.waitDelivered("clicks", events, time.Minute)
	close(end)
	bytes, cpu := <-most, cpuSeconds(t, a.cmd.Process.Pid)-before
	a.stop()
	for name, totals := range map[string]func() map[string]int{"dog": dog.totals, "plain": plain.totals} {
		var got map[string]int
		testkit.Eventually(t, 20*time.Second, func() error {
			if got = totals(); sum(got) != events {
				return fmt.Errorf("%s: got %d events, want %d", name, sum(got), events)
			}
			return nil
		})
		t.Logf("%s: %d series", name, len(got))
		if len(got) > 1000 || len(got) < 990 {
			t.Errorf("%s: got %d series, want about 1000", name, len(got))
		}
	}
	t.Logf("%d events at %.0f a second: %.1f MiB of anonymous memory at most, %.2f CPU seconds", events, rate, float64(bytes)/(1<<20), cpu)
	if bytes > 64<<20 {
		t.Errorf("got %d bytes of anonymous memory, want at most %d", bytes, 64<<20)
	}
}
