package file_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe/shipper/sink/file"
	"github.com/standpipe/standpipe/shipper/sink/sinktest"
)

const hour = "2026/11/21/08"

func at(clock string) func() time.Time {
	t, err := time.Parse(time.DateTime, "2026-11-21 "+clock)
	if err != nil {
		panic(err)
	}
	return func() time.Time { return t }
}

func options(dir string) file.Options {
	return file.Options{Path: dir, Stream: "clicks", Clock: at("08:15:00")}
}

func open(t *testing.T, o file.Options) *file.Sink {
	t.Helper()
	f, err := file.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// failNext makes the next n disk calls of one kind fail with err.
func failNext(f *file.Sink, call string, err error, n int) {
	f.FailDisk(func(got string) error {
		if got != call || n == 0 {
			return nil
		}
		n--
		return err
	})
}

// mustSend stores a record for each offset from first to last and returns the state.
func mustSend(t *testing.T, f *file.Sink, first uint64, n int) []byte {
	t.Helper()
	got := f.Send(t.Context(), sinktest.RecordsFrom(first, n))
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

// lines returns the lines of the events from first to last.
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
