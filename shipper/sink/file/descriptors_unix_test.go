//go:build unix

package file_test

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink/sinktest"
)

// The process has no free descriptors. A Send that needs a new file or directory returns a transient error and stores
// nothing, and works again once descriptors are free. Meanwhile the open file still takes lines.
func TestFile_WithoutDescriptorsWaitsAndRecovers(t *testing.T) {
	dir := t.TempDir()
	o := options(dir)
	o.RollSize = int64(len(lines(1, 3)))
	f := open(t, o)
	mustSend(t, f, 1, 1)
	give := takeDescriptors(t)
	mustSend(t, f, 2, 2) // rolls the file
	for range 3 {
		got := f.Send(t.Context(), sinktest.RecordsFrom(4, 2))
		if got.Err == nil || got.Err.Class != shipper.Transient {
			t.Fatalf("got %+v without a descriptor, want a transient error", got.Err)
		}
	}
	give()
	mustSend(t, f, 4, 2)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	checkTree(t, dir, map[string]string{
		hour + "/clicks-1.jsonl": lines(1, 3),
		hour + "/clicks-4.jsonl": lines(4, 5),
	})
}

// takeDescriptors opens files until the process may open no more. give closes them.
func takeDescriptors(t *testing.T) (give func()) {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	low := limit
	low.Cur = min(low.Cur, 256)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	var taken []*os.File
	for {
		file, err := os.Open(os.DevNull)
		if err != nil {
			break
		}
		taken = append(taken, file)
	}
	give = func() {
		for _, file := range taken {
			file.Close()
		}
		taken = nil
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(give)
	return give
}
