package deadletter_test

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/deadletter"
)

// sized returns a dead letter of about n bytes.
func sized(n int) deadletter.Letter {
	return deadletter.Letter{Stream: "s", Destination: "d", Event: wal.Event{Key: "k", Data: make([]byte, n), Time: 1, Offset: 1}, Reason: "refused"}
}

func deadLength(t *testing.T, dir string) int64 {
	t.Helper()
	return testkit.FileLength(t, filepath.Join(dir, "dead.db"))
}

// The file shrinks when letters are dropped, and no ID is used twice.
func TestDeadLetters_ShrinkWhenDropped(t *testing.T) {
	for name, keep := range map[string]int{"none": 0, "one": 1, "few": 30} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l := testkit.OpenLog(t, wal.Options{Dir: dir})
			d := l.OpenDeadLetters(nil)
			const n = 600
			for range n {
				testkit.Must(t, d.Put(sized(8000)))
			}
			full, ids := deadLength(t, dir), list(t, d, deadletter.Query{})
			for part := range slices.Chunk(ids[keep:], 100) {
				_, err := d.Drop(part...)
				testkit.Must(t, err)
			}
			length := deadLength(t, dir)
			if length > full/2 || length > 1<<20 && keep == 0 || l.Stat().DeadBytes < length {
				t.Errorf("got %d bytes, %d counted, of %d before letters were dropped", length, l.Stat().DeadBytes, full)
			}
			if got := list(t, d, deadletter.Query{}); !slices.Equal(got, ids[:keep]) {
				t.Errorf("got letters %v, want %v", got, ids[:keep])
			}
			testkit.Must(t, d.Close())
			d = l.OpenDeadLetters(nil)
			defer d.Close()
			testkit.Must(t, d.Put(sized(10)))
			if got, err := d.LastID(); err != nil || got != n+1 {
				t.Errorf("got id %d, %v, want %d", got, err, n+1)
			}
		})
	}
}

// If the file is replaced while the letters are being listed, List reads the new file.
func TestDeadLetters_AreReadWhileTheFileShrinks(t *testing.T) {
	d := openDead(t, t.TempDir())
	for range 5 {
		for range 40 {
			testkit.Must(t, d.Put(sized(60_000)))
		}
		ids := list(t, d, deadletter.Query{})
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 200 {
				if _, err := d.List(t.Context(), deadletter.Query{}); err != nil {
					t.Error(err)
				}
			}
		}()
		_, err := d.Drop(ids...)
		testkit.Must(t, err)
		<-done
	}
}
