package wal_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/wal"
)

// sample is a log in a folder that tests copy. It has a few segments and two streams; one of the streams is in the
// newest segment only.
type sample struct {
	dir      string
	files    []string
	next     map[string]uint64
	appended map[string]wal.Count
}

func sampleOptions(dir string) wal.Options {
	return wal.Options{Dir: dir, SegmentSize: 64 << 10}
}

func newSample(t testing.TB) sample {
	s := sample{dir: t.TempDir(), next: make(map[string]uint64), appended: make(map[string]wal.Count)}
	l := open(t, sampleOptions(s.dir))
	for _, stream := range []string{"old", "new"} {
		if _, err := l.OpenCursor(stream, "d"); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 60 {
		b := &wal.Batch{Stream: "old"}
		for j := range 5 {
			b.Events = append(b.Events, sampleEvent("old", uint64(i*5+j+1)))
		}
		if _, err := l.Append(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	for i := range uint64(10) {
		if _, err := l.Append(t.Context(), &wal.Batch{Stream: "new", Events: []wal.Event{sampleEvent("new", i+1)}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, st := range l.Streams() {
		s.next[st.Name], s.appended[st.Name] = st.Next, st.Appended
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(s.dir, "wal", "*.seg"))
	if err != nil || len(files) < 4 {
		t.Fatalf("got files %v, %v, want at least 4", files, err)
	}
	for _, f := range files {
		s.files = append(s.files, filepath.Base(f))
	}
	return s
}

func sampleEvent(stream string, offset uint64) wal.Event {
	return event(fmt.Sprint("key", offset%17), fmt.Sprintf("%s %d %0*d", stream, offset, int(offset*97%2000), 0))
}

func (s *sample) copy(t *testing.T) string {
	dir := t.TempDir()
	copyDir(t, dir, s.dir)
	return dir
}

// checkDamaged opens a damaged log and reads it as a shipper would, giving up events that cannot be read. It checks
// that each event read is exact, that the ledger adds up, and that new events get unused offsets. It returns the number
// of appended events that were lost.
func (s *sample) checkDamaged(t *testing.T, dir string) (lost uint64) {
	t.Helper()
	l, err := wal.Open(t.Context(), sampleOptions(dir))
	var later *wal.VersionError
	if errors.As(err, &later) { // flipped bits of a version can't be distinguished from a later release's version
		t.Log(err)
		return 0
	}
	if err != nil {
		t.Fatalf("a damaged log does not open: %v", err)
	}
	for _, stream := range []string{"old", "new"} {
		p, err := l.OpenCursor(stream, "d")
		if err != nil {
			t.Fatal(err)
		}
		appended := appendOne(t, l, stream, "k", "after")
		if appended.First < s.next[stream] {
			t.Errorf("%s: offset %d was used before, want at least %d", stream, appended.First, s.next[stream])
		}
		read := s.readDamaged(t, l, stream, appended.First)
		st := p.Stat()
		if st.Pending != read {
			t.Errorf("%s: got %+v pending, %+v can be read", stream, st.Pending, read)
		}
		dropped := st.Dropped[wal.DroppedCorrupt]
		if read.Events+dropped.Events != appended.First {
			t.Errorf("%s: got %d read and %d dropped, want %d together", stream, read.Events, dropped.Events, appended.First)
		}
		lost += s.next[stream] - 1 + 1 - read.Events
		settleAll(l, p, read)
		late, err := l.OpenCursor(stream, "late")
		if err != nil {
			t.Fatal(err)
		}
		if st := late.Stat(); st.Pending != read {
			t.Errorf("%s: a new destination got %+v pending, want %+v", stream, st.Pending, read)
		}
	}
	sync(t, l)
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	l = open(t, sampleOptions(dir)) // a segment that was set aside causes no second loss
	for _, stream := range []string{"old", "new"} {
		if st := l.Cursors(stream)[0].Stat(); st.Pending.Events != 0 {
			t.Errorf("%s: got %+v after a second open", stream, st)
		}
	}
	return lost
}

// readDamaged reads all of a stream. The event at last was appended after the damage.
func (s *sample) readDamaged(t *testing.T, l *wal.Log, stream string, last uint64) (read wal.Count) {
	t.Helper()
	for from := uint64(1); ; {
		chunk, err := l.Read(stream, from, wal.AllLanes, 1<<20)
		var corrupt *wal.CorruptError
		if errors.As(err, &corrupt) {
			var err error
			chunk.Next, err = l.Cursors(stream)[0].Lose(corrupt, chunk.Next, new(wal.Held))()
			must(t, err)
		} else if err != nil {
			t.Fatal(err)
		}
		for i := range chunk.Events {
			e := &chunk.Events[i]
			want := sampleEvent(stream, e.Offset)
			if e.Offset == last {
				want = event("k", "after")
			}
			if string(e.Data) != string(want.Data) || e.Key != want.Key {
				t.Fatalf("%s %d: got %.40q, want %.40q", stream, e.Offset, e.Data, want.Data)
			}
			read.Add(wal.Count{Events: 1, Bytes: uint64(len(e.Data))})
		}
		if from = chunk.Next; chunk.End {
			return read
		}
	}
}

func TestDamage_SoundSampleLosesNothing(t *testing.T) {
	s := newSample(t)
	if lost := s.checkDamaged(t, s.copy(t)); lost != 0 {
		t.Errorf("got %d events lost", lost)
	}
}

func TestDamage_OfASegmentCostsNoOther(t *testing.T) {
	s := newSample(t)
	for name, damage := range map[string]func(t *testing.T, path string){
		"removed":     func(t *testing.T, path string) { must(t, os.Remove(path)) },
		"empty":       func(t *testing.T, path string) { must(t, os.Truncate(path, 0)) },
		"one byte":    func(t *testing.T, path string) { must(t, os.Truncate(path, 1)) },
		"one page":    func(t *testing.T, path string) { must(t, os.Truncate(path, 4096)) },
		"half":        func(t *testing.T, path string) { must(t, os.Truncate(path, fileLength(t, path)/2)) },
		"zeros":       func(t *testing.T, path string) { overwrite(t, path, 0, make([]byte, fileLength(t, path))) },
		"first page":  func(t *testing.T, path string) { overwrite(t, path, 0, make([]byte, 4096)) },
		"second page": func(t *testing.T, path string) { overwrite(t, path, 4096, make([]byte, 4096)) },
		"both metas":  func(t *testing.T, path string) { overwrite(t, path, 0, make([]byte, 8192)) },
		"ones":        func(t *testing.T, path string) { overwrite(t, path, 0, slices.Repeat([]byte{0xff}, 64<<10)) },
		"text":        func(t *testing.T, path string) { must(t, os.WriteFile(path, []byte("no log at all"), 0o600)) },
		"foreign":     writeForeign,
		"a folder": func(t *testing.T, path string) {
			must(t, os.Remove(path))
			must(t, os.Mkdir(path, 0o700))
		},
	} {
		for i, which := range map[int]string{0: "oldest", 1: "middle", len(s.files) - 1: "newest"} {
			t.Run(name+"/"+which, func(t *testing.T) {
				t.Parallel()
				dir := s.copy(t)
				damage(t, filepath.Join(dir, "wal", s.files[i]))
				s.checkDamaged(t, dir)
			})
		}
	}
}

func TestDamage_ZeroedPageCostsLittle(t *testing.T) {
	s := newSample(t)
	for i := range s.files {
		for _, page := range []int64{2, 5, 8, 11, 14} {
			t.Run(fmt.Sprintf("segment=%d/page=%d", i, page), func(t *testing.T) {
				t.Parallel()
				dir := s.copy(t)
				path := filepath.Join(dir, "wal", s.files[i])
				if fileLength(t, path) < (page+1)*4096 {
					return // no such page
				}
				overwrite(t, path, page*4096, make([]byte, 4096))
				s.checkDamaged(t, dir)
			})
		}
	}
}

func TestDamage_OnlyTheNewestOrNoneIsLeft(t *testing.T) {
	s := newSample(t)
	t.Run("all but the newest removed", func(t *testing.T) {
		dir := s.copy(t)
		for _, f := range s.files[:len(s.files)-1] {
			must(t, os.Remove(filepath.Join(dir, "wal", f)))
		}
		s.checkDamaged(t, dir)
	})
	t.Run("all damaged", func(t *testing.T) {
		dir := s.copy(t)
		for _, f := range s.files {
			overwrite(t, filepath.Join(dir, "wal", f), 0, make([]byte, 8192))
		}
		s.checkDamaged(t, dir)
	})
	t.Run("two newest damaged", func(t *testing.T) {
		dir := s.copy(t)
		for _, f := range s.files[len(s.files)-2:] {
			overwrite(t, filepath.Join(dir, "wal", f), 0, make([]byte, 8192))
		}
		s.checkDamaged(t, dir)
	})
}

func TestDamage_FlippedBitsAnywhere(t *testing.T) {
	s := newSample(t)
	seed := draw.Seed(t)
	r := rand.New(rand.NewPCG(seed, 2))
	rounds := 40
	if testing.Short() {
		rounds = 10
	}
	for i := range rounds {
		t.Run(fmt.Sprint("flip=", i), func(t *testing.T) {
			dir := s.copy(t)
			path := filepath.Join(dir, "wal", s.files[r.IntN(len(s.files))])
			data, err := os.ReadFile(path)
			must(t, err)
			for range 1 + r.IntN(4) {
				bit := r.IntN(8 * len(data))
				if r.IntN(3) == 0 { // page headers
					bit = r.IntN(len(data)/4096)*4096*8 + r.IntN(200*8)
				}
				data[bit/8] ^= 1 << (bit % 8)
			}
			must(t, os.WriteFile(path, data, 0o600))
			s.checkDamaged(t, dir)
		})
	}
}

func TestSetAside_SegmentOfAnotherLog(t *testing.T) {
	s, other := newSample(t), newSample(t)
	dir := s.copy(t)
	data, err := os.ReadFile(filepath.Join(other.dir, "wal", other.files[1]))
	must(t, err)
	path := filepath.Join(dir, "wal", s.files[1])
	must(t, os.WriteFile(path, data, 0o600))
	if s.checkDamaged(t, dir) == 0 {
		t.Error("got nothing lost with a segment that was overwritten")
	}
	if _, err := os.Stat(path + ".corrupt"); err != nil {
		t.Errorf("it is not kept: %v", err)
	}
}

// writeForeign replaces the segment with a bbolt file of another program.
func writeForeign(t *testing.T, path string) {
	must(t, os.Remove(path))
	db, err := bolt.Open(path, 0o600, nil)
	must(t, err)
	must(t, db.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucket([]byte("members"))
		return err
	}))
	must(t, db.Close())
}
