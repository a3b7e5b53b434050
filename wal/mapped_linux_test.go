package wal_test

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/wal"
)

// Memory of the process does not grow with the backlog that is read, mapped pages included.
func TestRead_LeavesFewPagesInMemory(t *testing.T) {
	dir := t.TempDir()
	log, err := wal.Open(t.Context(), wal.Options{Dir: dir, SegmentSize: 16 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if _, err := log.OpenCursor("s", "keeps"); err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 4<<10)
	batch := &wal.Batch{Stream: "s", Events: make([]wal.Event, 256)}
	events := 0
	for range 44 { // two sealed segments and most of a third
		for i := range batch.Events {
			batch.Events[i] = wal.Event{Key: fmt.Sprint(i), Data: data, Time: 1}
		}
		if _, err := log.Append(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		events += len(batch.Events)
	}
	for range 2 { // the second time without a read from the disk
		for from := uint64(1); ; {
			chunk, err := log.Read("s", from, wal.AllLanes, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			if from = chunk.Next; chunk.End {
				break
			}
		}
	}
	// Each segment keeps at most what is read between two releases, and the kernel maps pages around the wanted ones.
	if got, most := mappedOf(t, dir), 3*(6<<20); got > most {
		t.Errorf("%d bytes of the log are in memory after %d events were read, want at most %d", got, events, most)
	}
}

// mappedOf returns the bytes of the files below dir that are in the memory of the process.
func mappedOf(t *testing.T, dir string) (bytes int) {
	t.Helper()
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	ours := false
	for lines.Scan() {
		line := lines.Text()
		if strings.Contains(line, "-") && !strings.Contains(strings.Fields(line)[0], ":") {
			ours = strings.Contains(line, dir)
		}
		var kb int
		if n, _ := fmt.Sscanf(line, "Rss: %d kB", &kb); n == 1 && ours {
			bytes += kb << 10
		}
	}
	return bytes
}
