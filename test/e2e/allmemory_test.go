//go:build linux

package e2e_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe/test/testkit"
)

// fileBlock is the destination of the documented stream that is no service.
var fileBlock = regexp.MustCompile(`(?s)  destination "file" "local" \{.*?\n  \}\n`)

// The agent ships STANDPIPE_E2E_ALL_MEGABYTES MB to Kafka, S3, SQS, another standpipe, StatsD and standard output at once, with
// less than 128 MiB of anonymous memory. The queue is slower than the others: its events wait in the log.
func TestDestinations_AllFitTheMemory(t *testing.T) {
	endToEnd(t)
	megabytes := number(t, "STANDPIPE_E2E_ALL_MEGABYTES", 20)
	e := newEverything(t, "5s")
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	testkit.Must(t, err)
	defer null.Close()
	e.output = null
	e.configure(fileBlock.ReplaceAllString(e.block, ""))
	e.start()
	most, end := make(chan int64), make(chan struct{})
	go sampleMemory(e.cmd.Process.Pid, end, most)

	r, client := rand.New(rand.NewPCG(12, 128)), e.dial()
	letters := make([]byte, 1<<20)
	for i := range letters {
		letters[i] = byte('a' + r.IntN(26))
	}
	for i := range megabytes {
		events := make([]event, 1000)
		for j := range events {
			key := fmt.Sprint("k", r.IntN(1000))
			events[j] = event{key, fmt.Sprintf(`{"sensor":%q,"n":%d,"pad":%q}`, key, i*1000+j, letters[r.IntN(len(letters)-950):][:950])}
		}
		if _, err := client.Append(t.Context(), request("orders", events...)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(e.stream("orders").Destinations); n != 6 {
		t.Fatalf("got %d destinations, want 6", n)
	}
	want := uint64(megabytes) * 1000
	testkit.Eventually(t, 10*time.Minute, func() error {
		var behind []string
		for _, d := range e.stream("orders").Destinations {
			if d.Delivered.Events < want && d.Type != "sqs" {
				behind = append(behind, fmt.Sprintf("%s has %d of %d: %s", d.Name, d.Delivered.Events, want, d.LastError))
			}
		}
		if len(behind) > 0 {
			return errors.New(strings.Join(behind, "; "))
		}
		return nil
	})
	close(end)
	bytes := <-most
	t.Logf("%d MB to all destinations: %.1f MiB of anonymous memory at most", megabytes, float64(bytes)/(1<<20))
	if bytes == 0 || bytes > 128<<20 {
		t.Errorf("got %d bytes of anonymous memory, want at most %d", bytes, 128<<20)
	}
	e.kill() // the queue would take long
}

// sampleMemory sends the largest anonymous memory of a process before end.
func sampleMemory(pid int, end <-chan struct{}, most chan<- int64) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var peak int64
	for {
		select {
		case <-tick.C:
			if bytes, err := anonymousOf(pid); err == nil {
				peak = max(peak, bytes)
			}
		case <-end:
			most <- peak
			return
		}
	}
}
