package file_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/shipper/sink/file"
	"github.com/standpipe/standpipe/shipper/sink/sinktest"
)

func TestFile_AfterCrashIsCutToTheCheckpoint(t *testing.T) {
	dir := t.TempDir()
	o := options(dir)
	o.RollSize = int64(len(lines(1, 3)))
	f := open(t, o)
	mustSend(t, f, 1, 3)
	o.State = mustSend(t, f, 4, 1) // the last committed state
	mustSend(t, f, 5, 2)
	mustSend(t, f, 7, 1)
	f.Crash()
	checkTree(t, dir, map[string]string{
		hour + "/clicks-1.jsonl.tmp": lines(1, 3),
		hour + "/clicks-4.jsonl.tmp": lines(4, 6),
		hour + "/clicks-7.jsonl.tmp": lines(7, 7),
	})
	for range 2 { // a crash while recovering changes nothing
		f = open(t, o)
		checkTree(t, dir, map[string]string{
			hour + "/clicks-1.jsonl": lines(1, 3),
			hour + "/clicks-4.jsonl": lines(4, 4),
		})
		f.Crash()
	}
	f = open(t, o)
	mustSend(t, f, 5, 3)
	f.Close()
	checkTree(t, dir, map[string]string{
		hour + "/clicks-1.jsonl": lines(1, 3),
		hour + "/clicks-4.jsonl": lines(4, 4),
		hour + "/clicks-5.jsonl": lines(5, 7),
	})
}

func TestFile_CrashBetweenCommitAndRename(t *testing.T) {
	dir := t.TempDir()
	o := options(dir)
	f := open(t, o)
	o.State = mustSend(t, f, 1, 2)
	f.Close() // renames the file
	open(t, o).Close()
	checkTree(t, dir, map[string]string{hour + "/clicks-1.jsonl": lines(1, 2)})
}

func TestFile_FoundWithoutStateKeepsWholeLines(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, hour), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"clicks-1.jsonl.tmp":   lines(1, 2) + `{"n":3`,
		"clicks-9.jsonl.2.tmp": lines(9, 9),
		"clicks-5.jsonl.tmp":   "torn",
		"clicks-2-1.jsonl.tmp": "another stream's",
		"notes.tmp":            "somebody's",
	} {
		if err := os.WriteFile(filepath.Join(dir, hour, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	open(t, options(dir)).Close()
	checkTree(t, dir, map[string]string{
		hour + "/clicks-1.jsonl":       lines(1, 2),
		hour + "/clicks-9.jsonl":       lines(9, 9),
		hour + "/clicks-2-1.jsonl.tmp": "another stream's",
		hour + "/notes.tmp":            "somebody's",
	})
}

// The agent was killed, started once while the disk was not mounted, and started again with the disk.
func TestFile_DiskThatComesBackKeepsDeliveredLines(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "disk")
	o := options(dir)
	f := open(t, o)
	o.State = mustSend(t, f, 1, 2)
	f.Crash()
	if err := os.Rename(dir, dir+"-unplugged"); err != nil {
		t.Fatal(err)
	}
	o.Checkpoint = 3
	f = open(t, o)
	o.State = f.State()
	f.Crash()
	if err := os.Rename(dir+"-unplugged", dir); err != nil {
		t.Fatal(err)
	}
	f = open(t, o)
	mustSend(t, f, 3, 1) // created after the checkpoint: removed at the next start
	f.Crash()
	open(t, o).Close()
	checkTree(t, dir, map[string]string{hour + "/clicks-1.jsonl": lines(1, 2)})
}

// A destination that could not finish the files of an earlier process at its start does so before it sends, because its
// next state no longer names them.
func TestFile_FinishesEarlierFilesBeforeItSends(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "disk")
	o := options(dir)
	f := open(t, o)
	o.State = mustSend(t, f, 1, 2)
	o.Checkpoint = 3
	f.Crash()
	if err := errors.Join(os.Rename(dir, dir+"-unplugged"), os.WriteFile(dir, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	f = open(t, o)
	if got := f.Send(t.Context(), sinktest.RecordsFrom(3, 1)); got.Err == nil {
		t.Fatal("it sent where no folder can be")
	}
	if err := errors.Join(os.Remove(dir), os.Rename(dir+"-unplugged", dir)); err != nil {
		t.Fatal(err)
	}
	mustSend(t, f, 3, 1)
	checkTree(t, dir, map[string]string{hour + "/clicks-1.jsonl": lines(1, 2), hour + "/clicks-3.jsonl.tmp": lines(3, 3)})
}

// After a crash the destination has another path. Delivered events are finished at the former one.
func TestFile_FinishesWhatIsAtThePathThatItHad(t *testing.T) {
	old, other := filepath.Join(t.TempDir(), "old"), filepath.Join(t.TempDir(), "new")
	o := options(old)
	o.RollSize = int64(len(lines(1, 3)))
	f := open(t, o)
	o.State = mustSend(t, f, 1, 2)
	mustSend(t, f, 3, 2) // not settled at the crash
	mustSend(t, f, 5, 1)
	f.Crash()
	o.Path, o.Checkpoint = other, 3
	f = open(t, o)
	mustSend(t, f, 3, 1)
	f.Close()
	checkTree(t, old, map[string]string{hour + "/clicks-1.jsonl": lines(1, 2)})
	checkTree(t, other, map[string]string{hour + "/clicks-3.jsonl": lines(3, 3)})
}

func TestFile_SaysWhereUnfinishedFilesAreThatItCannotReach(t *testing.T) {
	old, other := filepath.Join(t.TempDir(), "old"), filepath.Join(t.TempDir(), "new")
	o := options(old)
	f := open(t, o)
	o.State = mustSend(t, f, 1, 2)
	f.Crash()
	if err := os.Rename(old, old+"-unplugged"); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	o.Logger = hclog.New(&hclog.LoggerOptions{Output: &log})
	o.Path, o.Checkpoint = other, 3
	f = open(t, o)
	if got := log.String(); !strings.Contains(got, "path="+old) || !strings.Contains(got, "clicks-1.jsonl.tmp") {
		t.Errorf("got %q, want the path and the file", got)
	}
	mustSend(t, f, 3, 1)
	f.Close()
	checkTree(t, other, map[string]string{hour + "/clicks-3.jsonl": lines(3, 3)})
}

// A symbolic link to the directory counts as the same path.
func TestFile_KnowsItsPathByAnotherName(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "real"), filepath.Join(dir, "link")
	o := options(real)
	f := open(t, o)
	o.State = mustSend(t, f, 1, 2)
	mustSend(t, f, 3, 1)
	f.Crash()
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	o.Path, o.Checkpoint = link, 3
	open(t, o).Close()
	checkTree(t, real, map[string]string{hour + "/clicks-1.jsonl": lines(1, 2)})
}

// After a crash the destination has another type.
func TestFinishFiles_FinishesWhatAFileDestinationLeft(t *testing.T) {
	dir := t.TempDir()
	o := options(dir)
	f := open(t, o)
	o.State = mustSend(t, f, 1, 2)
	mustSend(t, f, 3, 1)
	f.Crash()
	left := file.Options{Stream: o.Stream, State: o.State, Checkpoint: 3}
	state := file.Finish(left)
	checkTree(t, dir, map[string]string{hour + "/clicks-1.jsonl": lines(1, 2)})
	if left.State = state; state == nil || file.Finish(left) != nil {
		t.Errorf("the state %q is to be finished again", state)
	}
	for _, other := range []string{"", "{", `{"shard":1}`} {
		if got := file.Finish(file.Options{Stream: "s", State: []byte(other)}); got != nil {
			t.Errorf("%q: got %q, want nothing", other, got)
		}
	}
}

// A destination that is not configured any more leaves whole files, and none of another destination.
func TestFinishParked_FinishesTheFilesOfItsState(t *testing.T) {
	dir := t.TempDir()
	o := options(dir)
	f := open(t, o)
	o.State = mustSend(t, f, 1, 3) // the last committed state
	mustSend(t, f, 4, 2)
	f.Crash()
	other := hour + "/views-1.jsonl.tmp"
	if err := os.WriteFile(filepath.Join(dir, other), []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	parked := file.Options{Path: ".", Stream: "clicks", State: o.State}
	want := map[string]string{hour + "/clicks-1.jsonl": lines(1, 3), other: "x\n"}
	for range 2 { // a crash before the log has the new state changes nothing
		state, err := file.FinishParked(parked)
		if err != nil || state == nil {
			t.Fatalf("got %q, %v, want the state after that", state, err)
		}
		checkTree(t, dir, want)
		if again, err := file.FinishParked(file.Options{Path: ".", Stream: "clicks", State: state}); err != nil || again != nil {
			t.Errorf("got %q, %v, want nothing left to finish", again, err)
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if state, err := file.FinishParked(parked); err == nil {
		t.Errorf("got %q without the folder, want an error: it may be mounted later", state)
	}
}
