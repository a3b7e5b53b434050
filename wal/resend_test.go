package wal_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/standpipe/standpipe/wal"
)

const (
	resendWorkload = "STANDPIPE_WAL_RESEND_WORKLOAD" // names the variable for the data directory of a workload
	resendAcked    = "STANDPIPE_WAL_RESEND_ACKED"    // names the variable for the last acked sequence
)

// resend appends numbered batches until it is killed, from the first event on whose ack it did not get. The log may
// already hold its first batches. Events are split into the same batches each time.
func resend(dir string) int {
	var next uint64
	fmt.Sscan(os.Getenv(resendAcked), &next)
	l, err := wal.Open(context.Background(), wal.Options{Dir: dir, SegmentSize: 64 << 10})
	for next++; err == nil; {
		n := int(1 + next*5%8)
		if _, err = l.Append(bg, resendBatch(next, n)); err == nil {
			next += uint64(n)
			fmt.Println(next - 1)
		}
	}
	fmt.Println("error", err)
	return 1
}

func resendBatch(sequence uint64, n int) *wal.Batch {
	b := &wal.Batch{Stream: "s", ProducerID: "p", ProducerSequence: sequence}
	for i := range uint64(n) {
		b.Events = append(b.Events, event("k", fmt.Sprintf("%d %0900d", sequence+i, 0)))
	}
	return b
}

// A producer that did not get the response to its last batch, because the agent was killed after the commit, sends the
// batch again. It is stored once, even if the original has been delivered and truncated meanwhile.
func TestKill_ResentBatchIsStoredOnce(t *testing.T) {
	dir, acked, again := t.TempDir(), uint64(0), 0
	for round := range 20 {
		before := acked
		acked = max(acked, resendRound(t, dir, acked))
		l, err := wal.Open(t.Context(), wal.Options{Dir: dir, SegmentSize: 64 << 10})
		must(t, err)
		p, err := l.OpenCursor("s", "d")
		must(t, err)
		st := p.Stat()
		next := st.Checkpoint
		for _, e := range readAll(t, l, "s", next, wal.AllLanes) {
			var n uint64
			if fmt.Sscan(string(e.Data), &n); n != next || e.Offset != next { // sequence and offset rise together
				t.Fatalf("round %d: got sequence %d at offset %d, want %d", round, n, e.Offset, next)
			}
			next++
		}
		if next-1 < acked || next-1 > acked+8 || acked < before {
			t.Fatalf("round %d: got %d events stored, %d acked, at most 8 were in flight", round, next-1, acked)
		}
		if next-1 > acked {
			again++
		}
		if round%2 == 0 {
			settleAll(l, p, st.Pending)
		}
		must(t, l.Close())
	}
	t.Logf("%d events; in %d of 20 rounds the producer did not hear of a batch that was stored", acked, again)
}

// resendRound runs the workload, kills it at a random moment, and returns the last sequence that it printed as acked.
func resendRound(t *testing.T, dir string, acked uint64) (last uint64) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), resendWorkload+"="+dir, fmt.Sprintf("%s=%d", resendAcked, acked))
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := bufio.NewScanner(stdout)
	for n := 0; lines.Scan(); n++ {
		if n == 0 {
			time.AfterFunc(time.Duration(rand.IntN(50_000))*time.Microsecond, func() { cmd.Process.Kill() })
		}
		if _, err := fmt.Sscan(lines.Text(), &last); err != nil {
			t.Errorf("the workload says %q", lines.Text())
		}
	}
	cmd.Wait()
	return last
}
