package file_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink/file"
	"github.com/standpipe/standpipe/shipper/sink/sinktest"
)

func TestFile_IsTmpUntilClose(t *testing.T) {
	dir := t.TempDir()
	f := open(t, options(dir))
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

func TestFile_RollsAtSizeAndWaitsForTheCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		o := options(dir)
		o.RollSize = int64(len(lines(1, 2)))
		f := open(t, o)
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

func TestFile_RollsAtInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		f := open(t, options(dir))
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

func TestFile_StartsAnewWithTheHour(t *testing.T) {
	dir := t.TempDir()
	o := options(dir)
	now := at("08:59:59")()
	o.Clock = func() time.Time { return now }
	f := open(t, o)
	mustSend(t, f, 1, 1)
	now = now.Add(time.Second)
	mustSend(t, f, 2, 1)
	f.Close()
	checkTree(t, dir, map[string]string{
		"2026/11/21/08/clicks-1.jsonl": lines(1, 1),
		"2026/11/21/09/clicks-2.jsonl": lines(2, 2),
	})
}

func TestFile_IsNeverOverwritten(t *testing.T) {
	dir := t.TempDir()
	for range 3 { // the same offsets again, as if the log had been removed
		f := open(t, options(dir))
		mustSend(t, f, 1, 1)
		f.Close()
	}
	checkTree(t, dir, map[string]string{
		hour + "/clicks-1.jsonl":   lines(1, 1),
		hour + "/clicks-1-2.jsonl": lines(1, 1),
		hour + "/clicks-1-3.jsonl": lines(1, 1),
	})
}

func TestFile_FailedSyncLeavesNoLineTwice(t *testing.T) {
	dir := t.TempDir()
	f := open(t, options(dir))
	mustSend(t, f, 1, 2)
	failNext(f, "sync", syscall.EIO, 2)
	for range 2 {
		got := f.Send(t.Context(), sinktest.RecordsFrom(3, 5))
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

func TestFile_CrashAfterFailedSync(t *testing.T) {
	dir := t.TempDir()
	o := options(dir)
	f := open(t, o)
	mustSend(t, f, 1, 2)
	failNext(f, "sync", syscall.EIO, 1)
	f.Send(t.Context(), sinktest.RecordsFrom(3, 5))
	o.State = mustSend(t, f, 3, 1)
	f.Crash()
	open(t, o)
	checkTree(t, dir, map[string]string{
		hour + "/clicks-1.jsonl": lines(1, 2),
		hour + "/clicks-3.jsonl": lines(3, 3),
	})
}

func TestFile_ClassOfDiskErrors(t *testing.T) {
	for errno, want := range map[syscall.Errno]struct {
		class shipper.Class
		code  string
	}{
		syscall.ENOSPC: {shipper.Transient, "no space"},
		syscall.EDQUOT: {shipper.Transient, "no space"},
		syscall.EIO:    {shipper.Transient, "io"},
		syscall.EMFILE: {shipper.Transient, "io"},
		syscall.ENFILE: {shipper.Transient, "io"},
		syscall.ENOMEM: {shipper.Transient, "io"},
		syscall.EACCES: {shipper.Operator, "permission"},
		syscall.EROFS:  {shipper.Operator, "read-only"},
	} {
		f := open(t, options(t.TempDir()))
		failNext(f, "sync", &fs.PathError{Op: "fdatasync", Path: "p", Err: errno}, 1)
		got := f.Send(t.Context(), sinktest.Records(1))
		if got.Err == nil || got.Err.Class != want.class || got.Err.Code != want.code || got.Code != "error" {
			t.Errorf("%v: got %+v, want %+v", errno, got.Err, want)
		}
	}
}

func TestFile_PathThatIsNoDirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f := open(t, options(path))
	got := f.Send(t.Context(), sinktest.Records(1))
	if got.Err == nil || got.Err.Class != shipper.Operator || got.Err.Code != "path" {
		t.Fatalf("got %+v", got.Err)
	}
	if err := os.Remove(path); err != nil { // fixed: the destination works again by itself
		t.Fatal(err)
	}
	mustSend(t, f, 1, 1)
}

func TestFile_DirectoryRemovedUnderIt(t *testing.T) {
	dir := t.TempDir()
	o := options(dir)
	o.RollSize = 1
	f := open(t, o)
	mustSend(t, f, 1, 1)
	if err := os.RemoveAll(filepath.Join(dir, "2026")); err != nil {
		t.Fatal(err)
	}
	f.Send(t.Context(), sinktest.RecordsFrom(2, 1))
	mustSend(t, f, 2, 1)
}

func TestFile_StreamNameStaysInPath(t *testing.T) {
	dir := t.TempDir()
	o := options(dir)
	o.Stream = "../../etc/100%"
	f := open(t, o)
	mustSend(t, f, 1, 1)
	f.Close()
	checkTree(t, dir, map[string]string{hour + "/..%2F..%2Fetc%2F100%25-1.jsonl": lines(1, 1)})
}

func TestFile_TooManyUnfinished(t *testing.T) {
	o := options(t.TempDir())
	o.RollSize = 1
	f := open(t, o)
	var state []byte
	for i := range 64 {
		state = mustSend(t, f, uint64(i+1), 1)
	}
	got := f.Send(t.Context(), sinktest.RecordsFrom(65, 1))
	if got.Err == nil || got.Err.Class != shipper.Operator || got.Err.Code != "unfinished" {
		t.Fatalf("got %+v", got.Err)
	}
	f.Committed(state)
	for deadline := time.Now().Add(time.Minute); ; {
		if got = f.Send(t.Context(), sinktest.RecordsFrom(65, 1)); got.Err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(got.Err)
		}
	}
}

func TestFile_BadStateIsAnError(t *testing.T) {
	for _, state := range []string{"{", `{"parts":[{"tmp":"../x","size":1}]}`, `{"parts":[{"tmp":"x","size":-1}]}`} {
		o := options(t.TempDir())
		o.State = []byte(state)
		if f, err := file.Open(o); err == nil {
			f.Close()
			t.Errorf("%s: got no error", state)
		}
	}
}

func TestFile_FullDiskGivesTheSpaceBack(t *testing.T) {
	dir := t.TempDir()
	f := open(t, options(dir))
	mustSend(t, f, 1, 2)
	failNext(f, "write", syscall.ENOSPC, 1)
	got := f.Send(t.Context(), sinktest.RecordsFrom(3, 5))
	if got.Err == nil || got.Err.Code != "no space" {
		t.Fatalf("got %+v", got.Err)
	}
	checkTree(t, dir, map[string]string{hour + "/clicks-1.jsonl.tmp": lines(1, 2)})
	mustSend(t, f, 3, 1)
	checkTree(t, dir, map[string]string{hour + "/clicks-1.jsonl.tmp": lines(1, 3)})
}

// An append first cuts off the bytes of an earlier append that failed and could not free the space.
func TestFile_CutsBackWhatAFailedAppendLeft(t *testing.T) {
	dir := t.TempDir()
	f := open(t, options(dir))
	mustSend(t, f, 1, 2)
	failed := make(map[string]bool)
	f.FailDisk(func(call string) error {
		if (call == "write" || call == "truncate") && !failed[call] {
			failed[call] = true
			return syscall.EIO
		}
		return nil
	})
	if got := f.Send(t.Context(), sinktest.RecordsFrom(3, 5)); got.Err == nil || !failed["truncate"] {
		t.Fatalf("got %+v with the failures %v, want a write and a truncation", got.Err, failed)
	}
	mustSend(t, f, 3, 1)
	checkTree(t, dir, map[string]string{hour + "/clicks-1.jsonl.tmp": lines(1, 3)})
}

// Any two consecutive disk calls fail, and every line is in the files once: the n-th call and the next one fail, for
// every n from 0 until a run has no failure.
func TestFile_EveryDiskErrorOnce(t *testing.T) {
	for n, clean := 0, false; !clean; n++ {
		for _, crash := range []bool{false, true} {
			dir := t.TempDir()
			o := options(dir)
			o.RollSize = int64(len(lines(1, 3)))
			f := open(t, o)
			calls := 0
			f.FailDisk(func(string) error {
				calls++
				if calls == n+1 || calls == n+2 {
					return errors.New("broken")
				}
				return nil
			})
			for first := uint64(1); first <= 8; {
				if got := f.Send(t.Context(), sinktest.RecordsFrom(first, 2)); got.Err == nil {
					o.State = got.State
					first += 2
				}
			}
			clean = calls <= n
			if crash {
				f.Crash()
				f = open(t, o)
			}
			if err := f.Close(); err != nil {
				open(t, o).Close() // the next start finishes the remaining files
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
		o := options(filepath.Join(t.TempDir(), "made", "out"))
		o.FileMode = tt.asked
		f := open(t, o)
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

func TestFile_GoesOnWhenTheDiskHasRoomAgain(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EIO} {
		for _, call := range []string{"write", "sync", "sync directory"} {
			dir := t.TempDir()
			f := open(t, options(dir))
			failNext(f, call, errno, 3)
			failed := 0
			for ; failed < 10; failed++ {
				if got := f.Send(t.Context(), sinktest.RecordsFrom(1, 2)); got.Err == nil {
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
