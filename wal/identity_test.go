package wal_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/wal"
)

// identified is a log for tests that check the prefix of its events' IDs.
type identified struct {
	*wal.Log
	said *bytes.Buffer
}

func openIdentified(t *testing.T, dir string) identified {
	t.Helper()
	said := &bytes.Buffer{}
	l, err := wal.Open(t.Context(), wal.Options{Dir: dir, SegmentSize: 128 << 10, Logger: hclog.New(&hclog.LoggerOptions{Output: said})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return identified{l, said}
}

// id returns the prefix of the ID of the stream's event at offset.
func (l identified) id(stream string, offset uint64) (id string) {
	for _, b := range l.Branches(stream) {
		if offset >= b.First {
			id = b.ID
		}
	}
	return id
}

// ids returns the complete IDs of all events of the stream.
func (l identified) ids(stream string) (all []string) {
	for offset := uint64(1); offset < l.Next(stream); offset++ {
		all = append(all, fmt.Sprintf("%s/%s/%d", l.id(stream, offset), stream, offset))
	}
	return all
}

func (l identified) add(t *testing.T, stream string, n int) {
	t.Helper()
	for range n {
		appendOne(t, l.Log, stream, "k", "x")
	}
}

func onlyLinux(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells that a directory is a copy")
	}
}

func TestIdentity_StaysThroughRestarts(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a")
	l := openIdentified(t, dir)
	l.add(t, "s", 3)
	want := l.ids("s")
	for i := range 4 {
		l.Close()
		if i == 2 { // renames the folder above the log
			to := dir + "-moved"
			if err := os.Rename(dir, to); err != nil {
				t.Fatal(err)
			}
			dir = to
		}
		l = openIdentified(t, dir)
		for range 40 {
			appendOne(t, l.Log, "s", "k", fmt.Sprintf("%020000d", i)) // until it rolls
		}
		if got := l.ids("s")[:3]; fmt.Sprint(got) != fmt.Sprint(want) || len(l.Branches("s")) != 1 || l.id("s", 99) != l.ID() {
			t.Fatalf("restart %d: got ids %q and %v, want %q", i, got, l.Branches("s"), want)
		}
		if bytes.Contains(l.said.Bytes(), []byte("copy")) {
			t.Errorf("restart %d: %s", i, l.said)
		}
	}
}

// A log is copied, and the original and all copies go on. No two new events share an ID, and each event keeps its ID
// through restarts.
func TestIdentity_DiffersBetweenCopies(t *testing.T) {
	onlyLinux(t)
	base := t.TempDir()
	dirs := []string{filepath.Join(base, "0")}
	l := openIdentified(t, dirs[0])
	l.add(t, "s", 5)
	l.add(t, "t", 1)
	shared := l.ids("s")
	for i := 1; i < 4; i++ {
		l.Close()
		dirs = append(dirs, filepath.Join(base, fmt.Sprint(i)))
		copyDir(t, dirs[i], dirs[0])
	}
	owner := map[string]int{}
	for round := range 3 {
		for i, dir := range dirs {
			l := openIdentified(t, dir)
			l.add(t, "s", 3+i)
			l.add(t, fmt.Sprint("new", round), 2)
			for _, stream := range []string{"s", "t", "new0", "new1", "new2"} {
				for _, id := range l.ids(stream) {
					if other, known := owner[id]; known && other != i && !bytes.Contains([]byte(fmt.Sprint(shared, "/t/1")), []byte(id)) && id != l.ID()+"/t/1" {
						t.Errorf("round %d: copies %d and %d have both an event %s", round, other, i, id)
					}
					owner[id] = i
				}
			}
			if got := l.ids("s")[:5]; fmt.Sprint(got) != fmt.Sprint(shared) {
				t.Errorf("copy %d: got %q for the events from before, want %q", i, got, shared)
			}
			if i > 0 && round == 0 && !bytes.Contains(l.said.Bytes(), []byte("copy")) {
				t.Errorf("copy %d: not told: %s", i, l.said)
			}
			l.Close()
		}
	}
}

// An older copy replaces the log, in each of several ways. No ID is given out twice.
func TestIdentity_DiffersAfterARestore(t *testing.T) {
	onlyLinux(t)
	restores := map[string]func(t *testing.T, from, to string){
		"removed and copied": func(t *testing.T, from, to string) {
			os.RemoveAll(to)
			copyDir(t, to, from)
		},
		"the segments only": func(t *testing.T, from, to string) {
			os.RemoveAll(filepath.Join(to, "wal"))
			copyDir(t, filepath.Join(to, "wal"), filepath.Join(from, "wal"))
		},
		"written over": func(t *testing.T, from, to string) { // the existing files keep their inodes
			files, err := os.ReadDir(filepath.Join(from, "wal"))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range files {
				b, err := os.ReadFile(filepath.Join(from, "wal", f.Name()))
				if err == nil {
					err = os.WriteFile(filepath.Join(to, "wal", f.Name()), b, 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
		},
	}
	for name, restore := range restores {
		t.Run(name, func(t *testing.T) {
			base := t.TempDir()
			dir, older := filepath.Join(base, "a"), filepath.Join(base, "b")
			l := openIdentified(t, dir)
			l.add(t, "s", 5)
			l.Close()
			copyDir(t, older, dir)
			given := map[string]bool{}
			for round := range 4 {
				l = openIdentified(t, dir)
				l.add(t, "s", 4)
				for _, id := range l.ids("s")[5:] {
					if given[id] {
						t.Errorf("round %d: %s is given again", round, id)
					}
					given[id] = true
				}
				again := l.ids("s")
				l.Close()
				l = openIdentified(t, dir)
				if got := l.ids("s"); fmt.Sprint(got) != fmt.Sprint(again) {
					t.Errorf("round %d: after a restart got %q, want %q", round, got, again)
				}
				l.Close()
				restore(t, older, dir)
			}
		})
	}
}

// A producer that survives a restore may skip, once, the events that the restored log lacks; any other gap is an error.
func TestIdentity_LetsProducersGoOnAfterARestore(t *testing.T) {
	onlyLinux(t)
	base := t.TempDir()
	dir, older := filepath.Join(base, "a"), filepath.Join(base, "b")
	producer := "p"
	send := func(l identified, sequence uint64) (wal.Appended, error) {
		return l.Append(context.Background(), &wal.Batch{Stream: "s", ProducerID: producer, ProducerSequence: sequence, Events: []wal.Event{event("k", "x")}})
	}
	must := func(l identified, sequence uint64, duplicate bool) {
		t.Helper()
		if a, err := send(l, sequence); err != nil || a.Duplicate != duplicate {
			t.Fatalf("batch %d: got %+v, %v, want it stored, duplicate %v", sequence, a, err, duplicate)
		}
	}
	l := openIdentified(t, dir)
	for n := range uint64(10) {
		must(l, n+1, false)
	}
	producer = "behind"
	must(l, 1, false)
	producer = "p"
	if _, err := send(l, 21); err == nil {
		t.Fatal("a gap was stored in a log that is no copy")
	}
	l.Close()
	copyDir(t, older, dir)
	l = openIdentified(t, older)
	l.Close() // the permission for one gap survives a restart
	l = openIdentified(t, older)
	must(l, 21, false)
	if want := `first_sequence=11 events=10`; !bytes.Contains(l.said.Bytes(), []byte(want)) {
		t.Errorf("got %s, want %s in it", l.said, want)
	}
	must(l, 21, true)
	must(l, 22, false)
	if _, err := send(l, 30); err == nil {
		t.Error("a second gap was stored")
	}
	producer = "behind" // it did not get the response to its first batch, so it cannot have sent a second
	must(l, 1, true)
	if _, err := send(l, 3); err == nil {
		t.Error("a gap was stored of a producer that the copy lacks nothing of")
	}
}
