//go:build unix

package relay_test

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/standpipe/standpipe/client"
	"github.com/standpipe/standpipe/shipper/ranged"
	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/deadletter"
)

var benchBytes = flag.Int64("relay.bytes", 128<<20, "payload bytes of the backlog that BenchmarkRelay relays")

// BenchmarkRelay relays a backlog from the log to a receiver in another process, which reads each request and stores
// nothing. In turns with it, a client.Publisher sends the same events from memory. MB/s-core and publisher-MB/s-core are the
// payload divided by the processor time of this process, which has no part of the receiver.
func BenchmarkRelay(b *testing.B) {
	for _, size := range []int{128, 1 << 10, 16 << 10} {
		b.Run(fmt.Sprintf("size=%dB", size), func(b *testing.B) { benchmarkRelay(b, size) })
	}
}

func benchmarkRelay(b *testing.B, size int) {
	log, n := backlog(b, size)
	address := startReceiver(b)
	payload := float64(n) * float64(size)
	var relayed, published, elapsed time.Duration
	rounds := 0
	b.ReportAllocs()
	for b.Loop() {
		began := time.Now()
		relayed += processor(func() { relayBacklog(b, log, address, fmt.Sprint(b.Name(), rounds)) })
		elapsed += time.Since(began)
		b.StopTimer()
		published += processor(func() { publishBacklog(b, address, size, n) })
		b.StartTimer()
		rounds++
	}
	b.SetBytes(int64(payload))
	total := payload * float64(rounds) / 1e6
	b.ReportMetric(total/relayed.Seconds(), "MB/s-core")
	b.ReportMetric(total/published.Seconds(), "publisher-MB/s-core")
	b.ReportMetric(float64(n*rounds)/elapsed.Seconds(), "events/s")
}

// backlog returns a log with n events.
func backlog(b *testing.B, size int) (log *wal.Log, n int) {
	b.Helper()
	log = testkit.OpenLog(b, wal.Options{Dir: b.TempDir(), MaxSize: 8*(*benchBytes) + 1<<30})
	_, err := log.OpenCursor("out", "keeps")
	testkit.Must(b, err)
	batch := &wal.Batch{Stream: "out", Events: make([]wal.Event, 1000)}
	data := []byte(strings.Repeat("an event of some length; ", size/25+1)[:size])
	for i := range batch.Events {
		batch.Events[i] = wal.Event{Key: fmt.Sprint("key-", i%100), Data: data, Time: int64(i + 1)}
	}
	for n = 0; int64(n)*int64(size) < *benchBytes; n += len(batch.Events) {
		_, err := log.Append(b.Context(), batch)
		testkit.Must(b, err)
	}
	return log, n
}

type noDeadLetters struct{ b *testing.B }

func (d noDeadLetters) Put(l deadletter.Letter) error {
	d.b.Errorf("rejected: %s", l.Reason)
	return nil
}

func relayBacklog(b *testing.B, log *wal.Log, address, destination string) {
	cursor, err := log.OpenCursor("out", destination)
	testkit.Must(b, err)
	o := (&receiver{address: address}).relayOptions()
	o.Destination = destination
	s := open(b, o)
	r := ranged.New(ranged.Options{Source: log, Cursor: cursor, Sink: s, Dead: noDeadLetters{b}})
	r.Finish()
	if err := r.Run(b.Context()); err != nil {
		b.Fatal(err)
	}
	if left := cursor.Stat().Pending.Events; left > 0 {
		b.Fatalf("%d events are pending", left)
	}
}

func publishBacklog(b *testing.B, address string, size, n int) {
	c, err := client.Dial(address, client.Options{})
	testkit.Must(b, err)
	defer c.Close()
	p := c.Publisher("in", client.PublisherOptions{})
	data := make([]byte, size)
	for i := range n {
		_, err := p.Publish(context.Background(), client.Event{Key: fmt.Sprint("key-", i%100), Data: data, Time: time.Unix(0, int64(i+1))})
		testkit.Must(b, err)
	}
	testkit.Must(b, p.Close(context.Background()))
}

// processor returns the processor time of this process while f runs.
func processor(f func()) time.Duration {
	before := processorTime()
	f()
	return processorTime() - before
}

func processorTime() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// startReceiver starts this program as a receiver.
func startReceiver(b *testing.B) (address string) {
	b.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), receiverVariable+"=1")
	in, err := cmd.StdinPipe()
	testkit.Must(b, err)
	out, err := cmd.StdoutPipe()
	testkit.Must(b, err)
	testkit.Must(b, cmd.Start())
	b.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	address, err = bufio.NewReader(out).ReadString('\n')
	testkit.Must(b, err)
	return strings.TrimSpace(address)
}
