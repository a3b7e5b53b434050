package sink_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink"
)

const hour = "2026/11/21/08"

func at(clock string) func() time.Time {
	t, err := time.Parse(time.DateTime, "2026-11-21 "+clock)
	if err != nil {
		panic(err)
	}
	return func() time.Time { return t }
}

func fileOptions(dir string) sink.FileOptions {
	return sink.FileOptions{Path: dir, Stream: "clicks", Clock: at("08:15:00")}
}

func openFile(t *testing.T, o sink.FileOptions) *sink.File {
	t.Helper()
	f, err := sink.OpenFile(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// fileTarget is a file sink for the conformance suite.
func fileTarget(t *testing.T) target {
	dir := t.TempDir()
	f := openFile(t, fileOptions(dir))
	once := func(call string, err error) func() {
		return func() { failNext(f, call, err, 1) }
	}
	return target{
		name: "file",
		sink: f,
		stored: func() [][]byte {
			f.Close()
			return [][]byte{readAll(t, dir)}
		},
		failRequest: []func(){once("sync", syscall.EIO), once("sync", syscall.ENOSPC), once("write", syscall.ENOSPC)},
	}
}

// failNext makes the next n of f's calls of one kind fail with err.
func failNext(f *sink.File, call string, err error, n int) {
	f.FailDisk(func(got string) error {
		if got != call || n == 0 {
			return nil
		}
		n--
		return err
	})
}

// mustSend stores a record for each offset from first to last and returns the state.
func mustSend(t *testing.T, f *sink.File, first uint64, n int) []byte {
	t.Helper()
	got := f.Send(t.Context(), recordsFrom(first, n))
	if got.Err != nil {
		t.Fatalf("offset %d: %v", first, got.Err)
	}
	return got.State
}

// tree returns the files under dir with their contents.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		files[filepath.ToSlash(name)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func readAll(t *testing.T, dir string) []byte {
	files := tree(t, dir)
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	var all bytes.Buffer
	for _, name := range names {
		all.WriteString(files[name])
	}
	return all.Bytes()
}

// lines are those of the events from first to last.
func lines(first, last int) string {
	var b strings.Builder
	for n := first; n <= last; n++ {
		fmt.Fprintf(&b, "{\"n\":%d}\n", n)
	}
	return b.String()
}

func checkTree(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	got := tree(t, dir)
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("%s: got %q, want %q", name, got[name], want[name])
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s: %q, want no such file", name, got[name])
		}
	}
}

func TestFileIsTmpUntilClose(t *testing.T) {
	dir := t.TempDir()
	f := openFile(t, fileOptions(dir))
	mustSend(t, f, 17, 3)
	checkTree(t, dir, map[string]string{hour + "/clicks-17.jsonl.tmp": lines(17, 19)})
	mustSend(t, f, 20, 1)
	for range 2 {
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	checkTree(t, dir, map[string]string{hour + "/clicks-17.jsonl": lines(17, 20)})
}

func TestFileRollsAtSizeAndWaitsForTheCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		o := fileOptions(dir)
		o.RollSize = int64(len(lines(1, 2)))
		f := openFile(t, o)
		one := mustSend(t, f, 1, 1)
		two := mustSend(t, f, 2, 1)
		three := mustSend(t, f, 3, 1)
		tmp := map[string]string{
			hour + "/clicks-1.jsonl.tmp": lines(1, 2),
			hour + "/clicks-3.jsonl.tmp": lines(3, 3),
		}
		synctest.Wait()
		checkTree(t, dir, tmp)
		f.Committed(one) // covers the first line only
		synctest.Wait()
		checkTree(t, dir, tmp)
		f.Committed(two)
		synctest.Wait()
		done := map[string]string{
			hour + "/clicks-1.jsonl":     lines(1, 2),
			hour + "/clicks-3.jsonl.tmp": lines(3, 3),
		}
		checkTree(t, dir, done)
		f.Committed(three) // covers a file that is not whole yet
		synctest.Wait()
		checkTree(t, dir, done)
	})
}

func TestFileRollsAtInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		f := openFile(t, fileOptions(dir))
		f.Committed(mustSend(t, f, 1, 1))
		time.Sleep(59 * time.Second)
		f.Committed(mustSend(t, f, 2, 1))
		synctest.Wait()
		checkTree(t, dir, map[string]string{hour + "/clicks-1.jsonl.tmp": lines(1, 2)})
		time.Sleep(time.Second)
		synctest.Wait()
		checkTree(t, dir, map[string]string{hour + "/clicks-1.jsonl": lines(1, 2)})
		time.Sleep(time.Hour)
		mustSend(t, f, 3, 1)
		checkTree(t, dir, map[string]string{
			hour + "/clicks-1.jsonl":     lines(1, 2),
			hour + "/clicks-3.jsonl.tmp": lines(3, 3),
		})
	})
}

func TestFileStartsAnewWithTheHour(t *testing.T) {
	dir := t.TempDir()
	o := fileOptions(dir)
	now := at("08:59:59")()
	o.Clock = func() time.Time { return now }
	f := openFile(t, o)
	mustSend(t, f, 1, 1)
	now = now.Add(time.Second)
	mustSend(t, f, 2, 1)
	f.Close()
	checkTree(t, dir, map[string]string{
		"2026/11/21/08/clicks-1.jsonl": lines(1, 1),
		"2026/11/21/09/clicks-2.jsonl": lines(2, 2),
	})
}

func TestFileAfterCrashIsCutToTheCheckpoint(t *testing.T) {
	dir := t.TempDir()
	o := fileOptions(dir)
	o.RollSize = int64(len(lines(1, 3)))
	f := openFile(t, o)
	mustSend(t, f, 1, 3)
	o.State = mustSend(t, f, 4, 1) // the last that was committed
	mustSend(t, f, 5, 2)
	mustSend(t, f, 7, 1)
	f.Crash()
	checkTree(t, dir, map[string]string{
		hour + "/clicks-1.jsonl.tmp": lines(1, 3),
		hour + "/clicks-4.jsonl.tmp": lines(4, 6),
		hour + "/clicks-7.jsonl.tmp": lines(7, 7),
	})
	for range 2 { // a crash while recovering changes nothing
		f = openFile(t, o)
		checkTree(t, dir, map[string]string{
			hour + "/clicks-1.jsonl": lines(1, 3),
			hour + "/clicks-4.jsonl": lines(4, 4),
		})
		f.Crash()
	}
	f = openFile(t, o)
	mustSend(t, f, 5, 3)
	f.Close()
	checkTree(t, dir, map[string]string{
		hour + "/clicks-1.jsonl": lines(1, 3),
		hour + "/clicks-4.jsonl": lines(4, 4),
		hour + "/clicks-5.jsonl": lines(5, 7),
	})
}

func TestFileCrashBetweenCommitAndRename(t *testing.T) {
	dir := t.TempDir()
	o := fileOptions(dir)
	f := openFile(t, o)
	o.State = mustSend(t, f, 1, 2)
	f.Close() // renamed
	openFile(t, o).Close()
	checkTree(t, dir, map[string]string{hour + "/clicks-1.jsonl": lines(1, 2)})
}

func TestFileFoundWithoutStateKeepsWholeLines(t *testing.T) {
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
	openFile(t, fileOptions(dir)).Close()
	checkTree(t, dir, map[string]string{
		hour + "/clicks-1.jsonl":       lines(1, 2),
		hour + "/clicks-9.jsonl":       lines(9, 9),
		hour + "/clicks-2-1.jsonl.tmp": "another stream's",
		hour + "/notes.tmp":            "somebody's",
	})
}

// The agent was killed, started once while the disk was not mounted, and again with the disk.
func TestFileDiskThatComesBackKeepsDeliveredLines(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "disk")
	o := fileOptions(dir)
	f := openFile(t, o)
	o.State = mustSend(t, f, 1, 2)
	f.Crash()
	if err := os.Rename(dir, dir+"-unplugged"); err != nil {
		t.Fatal(err)
	}
	o.Checkpoint = 3
	f = openFile(t, o)
	o.State = f.State()
	f.Crash()
	if err := os.Rename(dir+"-unplugged", dir); err != nil {
		t.Fatal(err)
	}
	f = openFile(t, o)
	mustSend(t, f, 3, 1) // begun after the checkpoint: it is removed at the next start
	f.Crash()
	openFile(t, o).Close()
	checkTree(t, dir, map[string]string{hour + "/clicks-1.jsonl": lines(1, 2)})
}

func TestFileIsNeverOverwritten(t *testing.T) {
	dir := t.TempDir()
	for range 3 { // the same offsets again, as after the log was removed
		f := openFile(t, fileOptions(dir))
		mustSend(t, f, 1, 1)
		f.Close()
	}
	checkTree(t, dir, map[string]string{
		hour + "/clicks-1.jsonl":   lines(1, 1),
		hour + "/clicks-1-2.jsonl": lines(1, 1),
		hour + "/clicks-1-3.jsonl": lines(1, 1),
	})
}

func TestFileFailedSyncLeavesNoLineTwice(t *testing.T) {
	dir := t.TempDir()
	f := openFile(t, fileOptions(dir))
	mustSend(t, f, 1, 2)
	failNext(f, "sync", syscall.EIO, 2)
	for range 2 {
		got := f.Send(t.Context(), recordsFrom(3, 5))
		if got.Err == nil || got.Err.Class != shipper.Transient || got.State != nil {
			t.Fatalf("got %+v, want a transient error", got)
		}
	}
	mustSend(t, f, 3, 1)
	f.Close()
	checkTree(t, dir, map[string]string{
		hour + "/clicks-1.jsonl": lines(1, 2),
		hour + "/clicks-3.jsonl": lines(3, 3),
	})
}

func TestFileCrashAfterFailedSync(t *testing.T) {
	dir := t.TempDir()
	o := fileOptions(dir)
	f := openFile(t, o)
	mustSend(t, f, 1, 2)
	failNext(f, "sync", syscall.EIO, 1)
	f.Send(t.Context(), recordsFrom(3, 5))
	o.State = mustSend(t, f, 3, 1)
	f.Crash()
	openFile(t, o)
	checkTree(t, dir, map[string]string{
		hour + "/clicks-1.jsonl": lines(1, 2),
		hour + "/clicks-3.jsonl": lines(3, 3),
	})
}

func TestFileClassOfDiskErrors(t *testing.T) {
	for errno, want := range map[syscall.Errno]struct {
		class shipper.Class
		code  string
	}{
		syscall.ENOSPC: {shipper.Transient, "no space"},
		syscall.EDQUOT: {shipper.Transient, "no space"},
		syscall.EIO:    {shipper.Transient, "io"},
		syscall.EACCES: {shipper.Operator, "permission"},
		syscall.EROFS:  {shipper.Operator, "read-only"},
	} {
		f := openFile(t, fileOptions(t.TempDir()))
		failNext(f, "sync", &fs.PathError{Op: "fdatasync", Path: "p", Err: errno}, 1)
		got := f.Send(t.Context(), records(1))
		if got.Err == nil || got.Err.Class != want.class || got.Err.Code != want.code || got.Code != "error" {
			t.Errorf("%v: got %+v, want %+v", errno, got.Err, want)
		}
	}
}

func TestFilePathThatIsNoDirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f := openFile(t, fileOptions(path))
	got := f.Send(t.Context(), records(1))
	if got.Err == nil || got.Err.Class != shipper.Operator || got.Err.Code != "path" {
		t.Fatalf("got %+v", got.Err)
	}
	if err := os.Remove(path); err != nil { // mended: it goes on by itself
		t.Fatal(err)
	}
	mustSend(t, f, 1, 1)
}

func TestFileDirectoryRemovedUnderIt(t *testing.T) {
	dir := t.TempDir()
	o := fileOptions(dir)
	o.RollSize = 1
	f := openFile(t, o)
	mustSend(t, f, 1, 1)
	if err := os.RemoveAll(filepath.Join(dir, "2026")); err != nil {
		t.Fatal(err)
	}
	f.Send(t.Context(), recordsFrom(2, 1))
	mustSend(t, f, 2, 1)
}

func TestFileStreamNameStaysInPath(t *testing.T) {
	dir := t.TempDir()
	o := fileOptions(dir)
	o.Stream = "../../etc/100%"
	f := openFile(t, o)
	mustSend(t, f, 1, 1)
	f.Close()
	checkTree(t, dir, map[string]string{hour + "/..%2F..%2Fetc%2F100%25-1.jsonl": lines(1, 1)})
}

func TestFileTooManyUnfinished(t *testing.T) {
	o := fileOptions(t.TempDir())
	o.RollSize = 1
	f := openFile(t, o)
	var state []byte
	for i := range 64 {
		state = mustSend(t, f, uint64(i+1), 1)
	}
	got := f.Send(t.Context(), recordsFrom(65, 1))
	if got.Err == nil || got.Err.Class != shipper.Operator || got.Err.Code != "unfinished" {
		t.Fatalf("got %+v", got.Err)
	}
	f.Committed(state)
	for deadline := time.Now().Add(10 * time.Second); ; {
		if got = f.Send(t.Context(), recordsFrom(65, 1)); got.Err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(got.Err)
		}
	}
}

func TestFileBadStateIsAnError(t *testing.T) {
	for _, state := range []string{"{", `{"parts":[{"tmp":"../x","size":1}]}`, `{"parts":[{"tmp":"x","size":-1}]}`} {
		o := fileOptions(t.TempDir())
		o.State = []byte(state)
		if f, err := sink.OpenFile(o); err == nil {
			f.Close()
			t.Errorf("%s: got no error", state)
		}
	}
}

func TestFileFullDiskGivesTheSpaceBack(t *testing.T) {
	dir := t.TempDir()
	f := openFile(t, fileOptions(dir))
	mustSend(t, f, 1, 2)
	failNext(f, "write", syscall.ENOSPC, 1)
	got := f.Send(t.Context(), recordsFrom(3, 5))
	if got.Err == nil || got.Err.Code != "no space" {
		t.Fatalf("got %+v", got.Err)
	}
	checkTree(t, dir, map[string]string{hour + "/clicks-1.jsonl.tmp": lines(1, 2)})
	mustSend(t, f, 3, 1)
	checkTree(t, dir, map[string]string{hour + "/clicks-1.jsonl.tmp": lines(1, 3)})
}

// Whichever calls fail, every line is there once: the n-th and the one after it fail, for n = 0,
// 1, 2 … until a run is clean.
func TestFileEveryDiskErrorOnce(t *testing.T) {
	for n, clean := 0, false; !clean; n++ {
		for _, crash := range []bool{false, true} {
			dir := t.TempDir()
			o := fileOptions(dir)
			o.RollSize = int64(len(lines(1, 3)))
			f := openFile(t, o)
			calls := 0
			f.FailDisk(func(string) error {
				calls++
				if calls == n+1 || calls == n+2 {
					return errors.New("broken")
				}
				return nil
			})
			for first := uint64(1); first <= 8; {
				if got := f.Send(t.Context(), recordsFrom(first, 2)); got.Err == nil {
					o.State = got.State
					first += 2
				}
			}
			clean = calls <= n
			if crash {
				f.Crash()
				f = openFile(t, o)
			}
			if err := f.Close(); err != nil {
				openFile(t, o).Close() // what could not be finished is finished at the next start
			}
			if got, want := string(readAll(t, dir)), lines(1, 8); got != want {
				t.Fatalf("call %d failed, crash %v: got %q, want %q", n, crash, got, want)
			}
		}
	}
}

func TestFile_ModesAreThoseThatAreAskedFor(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no modes")
	}
	for _, tt := range []struct{ asked, file, dir fs.FileMode }{
		{0, 0o644, 0o755}, {0o640, 0o640, 0o750}, {0o600, 0o600, 0o700}, {0o660, 0o660, 0o770}, {0o666, 0o666, 0o777},
	} {
		o := fileOptions(filepath.Join(t.TempDir(), "made", "out"))
		o.FileMode = tt.asked
		f := openFile(t, o)
		mustSend(t, f, 1, 1)
		check := func(path string, want fs.FileMode) {
			t.Helper()
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
				t.Errorf("%v: %s has %v, %v; want %v", tt.asked, path, info.Mode().Perm(), err, want)
			}
		}
		check(filepath.Join(o.Path, hour, "clicks-1.jsonl.tmp"), tt.file)
		f.Close()
		check(filepath.Join(o.Path, hour, "clicks-1.jsonl"), tt.file)
		check(filepath.Join(o.Path, hour), tt.dir)
		check(filepath.Join(o.Path, "2026"), tt.dir)
		check(o.Path, tt.dir)
		check(filepath.Dir(o.Path), tt.dir)
	}
}

// After a crash the destination has another path: delivered events are finished at the former one.
func TestFile_FinishesWhatIsAtThePathThatItHad(t *testing.T) {
	old, other := filepath.Join(t.TempDir(), "old"), filepath.Join(t.TempDir(), "new")
	o := fileOptions(old)
	o.RollSize = int64(len(lines(1, 3)))
	f := openFile(t, o)
	o.State = mustSend(t, f, 1, 2)
	mustSend(t, f, 3, 2) // is not settled when it crashes
	mustSend(t, f, 5, 1)
	f.Crash()
	o.Path, o.Checkpoint = other, 3
	f = openFile(t, o)
	mustSend(t, f, 3, 1)
	f.Close()
	checkTree(t, old, map[string]string{hour + "/clicks-1.jsonl": lines(1, 2)})
	checkTree(t, other, map[string]string{hour + "/clicks-3.jsonl": lines(3, 3)})
}

func TestFile_SaysWhereUnfinishedFilesAreThatItCannotReach(t *testing.T) {
	old, other := filepath.Join(t.TempDir(), "old"), filepath.Join(t.TempDir(), "new")
	o := fileOptions(old)
	f := openFile(t, o)
	o.State = mustSend(t, f, 1, 2)
	f.Crash()
	if err := os.Rename(old, old+"-unplugged"); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	o.Logger = hclog.New(&hclog.LoggerOptions{Output: &log})
	o.Path, o.Checkpoint = other, 3
	f = openFile(t, o)
	if got := log.String(); !strings.Contains(got, "path="+old) || !strings.Contains(got, "clicks-1.jsonl.tmp") {
		t.Errorf("got %q, want the path and the file", got)
	}
	mustSend(t, f, 3, 1)
	f.Close()
	checkTree(t, other, map[string]string{hour + "/clicks-3.jsonl": lines(3, 3)})
}

// A link to the folder is the folder.
func TestFile_KnowsItsPathByAnotherName(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "real"), filepath.Join(dir, "link")
	o := fileOptions(real)
	f := openFile(t, o)
	o.State = mustSend(t, f, 1, 2)
	mustSend(t, f, 3, 1)
	f.Crash()
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	o.Path, o.Checkpoint = link, 3
	openFile(t, o).Close()
	checkTree(t, real, map[string]string{hour + "/clicks-1.jsonl": lines(1, 2)})
}

// After a crash the destination is of another type.
func TestFinishFiles_FinishesWhatAFileDestinationLeft(t *testing.T) {
	dir := t.TempDir()
	o := fileOptions(dir)
	f := openFile(t, o)
	o.State = mustSend(t, f, 1, 2)
	mustSend(t, f, 3, 1)
	f.Crash()
	left := sink.FileOptions{Stream: o.Stream, State: o.State, Checkpoint: 3}
	state := sink.FinishFiles(left)
	checkTree(t, dir, map[string]string{hour + "/clicks-1.jsonl": lines(1, 2)})
	if left.State = state; state == nil || sink.FinishFiles(left) != nil {
		t.Errorf("the state %q is to be finished again", state)
	}
	for _, other := range []string{"", "{", `{"shard":1}`} {
		if got := sink.FinishFiles(sink.FileOptions{Stream: "s", State: []byte(other)}); got != nil {
			t.Errorf("%q: got %q, want nothing", other, got)
		}
	}
}

func TestFile_GoesOnWhenTheDiskHasRoomAgain(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EIO} {
		for _, call := range []string{"write", "sync", "sync directory"} {
			dir := t.TempDir()
			f := openFile(t, fileOptions(dir))
			failNext(f, call, errno, 3)
			failed := 0
			for ; failed < 10; failed++ {
				if got := f.Send(t.Context(), recordsFrom(1, 2)); got.Err == nil {
					break
				}
			}
			if failed == 0 || failed > 3 {
				t.Errorf("%v of %s: failed %d times", errno, call, failed)
			}
			f.Close()
			if got := string(readAll(t, dir)); got != lines(1, 2) {
				t.Errorf("%v of %s: got %q", errno, call, got)
			}
		}
	}
}
