package gateway_test

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/standpipe/standpipe/client"
	"github.com/standpipe/standpipe/test/testkit"
)

const (
	// A card of 4 GB whose cells bear 3,000 writes.
	cardBytes = 4e9 * 3000
	// profile is the line that a gateway has.
	profile = "profile = \"gateway\"\n"
)

// mkfs is the file system of the cards, with its arguments. The kernel must know it.
var mkfs = strings.Fields(cmp.Or(os.Getenv("STANDPIPE_GATEWAY_MKFS"), "mkfs.ext4"))

// newCard attaches an empty card.
func newCard(t *testing.T) *testkit.Disk {
	t.Helper()
	card, err := testkit.NewDisk(t, t.TempDir(), 1<<30, mkfs...)
	if err == nil {
		err = card.Attach()
	}
	if err != nil {
		testkit.NotTested(t, fmt.Sprintf("the flash card (root, loop devices and %s)", mkfs[0]), err)
		t.SkipNow()
	}
	return card
}

// fileStreams are n streams that write their events to files on the card's neighbour: only the log is on the card.
func fileStreams(t *testing.T, n int) (settings string, names []string) {
	for i := range n {
		names = append(names, fmt.Sprint("s", i))
		settings += fmt.Sprintf("stream %q {\n  destination \"file\" \"local\" { path = %q }\n}\n", names[i], filepath.Join(t.TempDir(), names[i]))
	}
	return settings, names
}

// wear is traffic that is written to a card.
type wear struct {
	name, settings string
	batch          client.Batch
	streams        int
	perSecond      int // events, each with a request
}

// measure runs the traffic and returns the bytes that one event wrote to the log and to the device.
func (w wear) measure(t *testing.T, d time.Duration) (log, device float64) {
	t.Helper()
	card := newCard(t)
	streams, names := fileStreams(t, w.streams)
	a := newAgent(t, filepath.Join(card.Mount, "data"), w.settings+streams)
	a.start()
	for i := range 60 { // a log that is in use
		a.produce(names[i%len(names)], 100)
	}
	testkit.Eventually(t, time.Minute, func() error {
		d, err := a.status()
		if err == nil && d.Pending > 0 {
			err = fmt.Errorf("%d events are pending", d.Pending)
		}
		return err
	})
	written := func() float64 {
		bytes, err := card.Written()
		testkit.Must(t, err)
		return float64(bytes)
	}
	sent, logged, began := a.sent.Load(), a.metric("standpipe_wal_written_bytes_total"), written()
	a.produceFor(w.batch, names, w.perSecond, d)
	events := float64(a.sent.Load() - sent)
	return (a.metric("standpipe_wal_written_bytes_total") - logged) / events, (written() - began) / events
}

// A gateway's profile is there to spare the card. The bound is twice the bytes on an idle machine.
func TestCard_ProfileSparesIt(t *testing.T) {
	t.Parallel()
	_, device := wear{settings: profile, streams: 1, perSecond: 20}.measure(t, 20*time.Second)
	if device > 6000 {
		t.Errorf("got %.0f bytes written for an event of %d, want at most 6,000", device, eventSize)
	}
}

// TestMeasureCard measures the bytes that an event writes to a flash card, and prints a table.
func TestMeasureCard(t *testing.T) {
	long(t)
	var table sheet
	t.Run("rows", func(t *testing.T) {
		accepted := client.Batch{Ack: client.AckAccepted}
		for _, w := range []wear{
			{"20/s, defaults", "", client.Batch{}, 1, 20},
			{"20/s, ack level accepted", "", accepted, 1, 20},
			{"20/s, commit_linger = 1s", "wal { commit_linger = \"1s\" }\n", client.Batch{}, 1, 20},
			{"20/s, profile = gateway", profile, client.Batch{}, 1, 20},
			{"1/s, defaults", "", client.Batch{}, 1, 1},
			{"1/s, profile = gateway", profile, client.Batch{}, 1, 1},
			{"2/s, defaults", "", client.Batch{}, 1, 2},
			{"2/s, profile = gateway", profile, client.Batch{}, 1, 2},
			{"50 streams, 2/s in all, defaults", "", client.Batch{}, 50, 2},
			{"50 streams, 2/s in all, profile = gateway", profile, client.Batch{}, 50, 2},
		} {
			t.Run(w.name, func(t *testing.T) {
				t.Parallel()
				log, device := w.measure(t, 2*time.Minute)
				perDay := device * float64(w.perSecond) * 24 * 3600
				table.add(w.name, fmt.Sprintf("%.0f bytes an event to the log, %.0f to the device, %.1f GB a day, %.1f years", log, device, perDay/1e9,
					cardBytes/perDay/365))
			})
		}
	})
	t.Log("\n" + table.String())
}

// TestMeasureSlowSyncs measures callers that send one event, and again as soon as they have the response, and prints a table. strace
// makes each sync last longer.
func TestMeasureSlowSyncs(t *testing.T) {
	long(t)
	if _, err := exec.LookPath("strace"); err != nil {
		testkit.NotTested(t, "slow syncs (strace)", err)
		t.SkipNow()
	}
	var table sheet
	for _, sync := range []time.Duration{10 * time.Millisecond, 20 * time.Millisecond, 30 * time.Millisecond} {
		for _, callers := range []int{1, 8, 64} {
			name := fmt.Sprintf("syncs of %v, %d callers", sync, callers)
			t.Run(name, func(t *testing.T) { table.add(name, slowSyncs(t, sync, callers)) })
		}
	}
	t.Log("\n" + table.String())
}

func slowSyncs(t *testing.T, delay time.Duration, callers int) string {
	card := newCard(t)
	streams, names := fileStreams(t, 1)
	a := newAgent(t, filepath.Join(card.Mount, "data"), streams)
	a.under = []string{"strace", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync,fsync",
		"-e", fmt.Sprintf("inject=fdatasync,fsync:delay_exit=%d", delay.Microseconds())}
	a.start()
	a.produce(names[0], 100)

	commits := func() (n, seconds float64) {
		return a.metric("standpipe_commit_seconds_count"), a.metric("standpipe_commit_seconds_sum")
	}
	n, seconds := commits()
	began, end := time.Now(), time.Now().Add(7*time.Second)
	var mu sync.Mutex
	var waits []time.Duration
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for time.Now().Before(end) {
				sent := time.Now()
				a.produce(names[0], 1)
				mu.Lock()
				waits = append(waits, time.Since(sent))
				mu.Unlock()
			}
		})
	}
	all.Wait()
	took := time.Since(began)
	n2, seconds2 := commits()
	slices.Sort(waits)
	median, commit := waits[len(waits)/2], (seconds2-seconds)/(n2-n)
	return fmt.Sprintf("%.0f acks a second, median wait %.0f ms, which is %.2f commits of %.0f ms", float64(len(waits))/took.Seconds(),
		1000*median.Seconds(), median.Seconds()/commit, 1000*commit)
}
