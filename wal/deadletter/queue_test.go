package deadletter_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	goSync "sync"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/deadletter"
)

func openDead(t *testing.T, dir string) *deadletter.Queue {
	d := deadletter.Open(dir, deadletter.Options{})
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// letter returns the n-th sample. The samples have two streams and three destinations.
func letter(n int) deadletter.Letter {
	key := fmt.Sprint("key", n)
	return deadletter.Letter{
		Stream: fmt.Sprint("stream", n%2), Destination: fmt.Sprint("destination", n%3),
		Event: wal.Event{
			Key: key, Data: bytes.Repeat([]byte{byte(n)}, n), Time: int64(n) - 1, Offset: uint64(100 + n),
			Lane: wal.LaneOf(key), Attributes: map[string]string{"n": fmt.Sprint(n)},
		},
		Reason: fmt.Sprint("refused: ", n), At: time.Unix(1_700_000_000, int64(n)),
	}
}

func putSamples(t *testing.T, d *deadletter.Queue, count int) {
	t.Helper()
	for n := range count {
		if err := d.Put(letter(n)); err != nil {
			t.Fatal(err)
		}
	}
}

func list(t *testing.T, d *deadletter.Queue, q deadletter.Query) (ids []uint64) {
	t.Helper()
	letters, err := d.List(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range letters {
		ids = append(ids, l.ID)
	}
	return ids
}

func TestQueue_ReturnsLettersAsTheyWere(t *testing.T) {
	dir := t.TempDir()
	d := openDead(t, dir)
	putSamples(t, d, 4)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = openDead(t, dir)
	for n := range 4 {
		got, err := d.Get(uint64(n + 1))
		if want := letter(n); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
	letters, err := d.List(t.Context(), deadletter.Query{After: 3})
	w := letter(3)
	want := []deadletter.Stat{{
		ID: 4, Stream: w.Stream, Destination: w.Destination, Offset: 103, Key: "key3", Bytes: 3, Reason: w.Reason, At: w.At,
	}}
	if err != nil || !reflect.DeepEqual(letters, want) {
		t.Errorf("got %+v, %v, want %+v", letters, err, want)
	}
	if _, err := d.Get(5); !errors.Is(err, deadletter.ErrNotFound) {
		t.Errorf("got %v, want ErrNoLetter", err)
	}
}

func TestList_SelectsLetters(t *testing.T) {
	d := openDead(t, t.TempDir())
	putSamples(t, d, 12)
	for _, test := range []struct {
		q    deadletter.Query
		want []uint64
	}{
		{deadletter.Query{Limit: 3}, []uint64{1, 2, 3}},
		{deadletter.Query{After: 10}, []uint64{11, 12}},
		{deadletter.Query{After: 2, Until: 4}, []uint64{3, 4}},
		{deadletter.Query{After: 12}, nil},
		{deadletter.Query{After: math.MaxUint64}, nil},
		{deadletter.Query{Stream: "stream1"}, []uint64{2, 4, 6, 8, 10, 12}},
		{deadletter.Query{Stream: "stream1", Destination: "destination2"}, []uint64{6, 12}},
		{deadletter.Query{Destination: "destination0", Limit: 2, After: 1}, []uint64{4, 7}},
		{deadletter.Query{Stream: "nobody"}, nil},
	} {
		if got := list(t, d, test.q); !slices.Equal(got, test.want) {
			t.Errorf("%+v: got %v, want %v", test.q, got, test.want)
		}
	}
}

// List reads in several steps when the letters are large.
func TestList_ReadsLargeLettersInSeveralScans(t *testing.T) {
	d := openDead(t, t.TempDir())
	for n := range 7 {
		l := letter(n)
		l.Event.Data = make([]byte, 1<<20)
		if err := d.Put(l); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := list(t, d, deadletter.Query{}), []uint64{1, 2, 3, 4, 5, 6, 7}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got, want := list(t, d, deadletter.Query{Destination: "destination0"}), []uint64{1, 4, 7}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.List(ctx, deadletter.Query{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want canceled", err)
	}
}

func TestDrop_RemovesLettersAndReusesNoID(t *testing.T) {
	dir := t.TempDir()
	d := openDead(t, dir)
	putSamples(t, d, 3)
	for _, want := range [][]uint64{{1, 3}, nil} {
		if got, err := d.Drop(1, 3, 9); err != nil || !slices.Equal(got, want) {
			t.Errorf("got %v, %v, want %v", got, err, want)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = openDead(t, dir)
	putSamples(t, d, 1)
	if got, want := list(t, d, deadletter.Query{}), []uint64{2, 4}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if last, err := d.LastID(); err != nil || last != 4 {
		t.Errorf("got %d, %v, want 4", last, err)
	}
}

func TestList_CreatesNoFile(t *testing.T) {
	dir := t.TempDir()
	d := openDead(t, dir)
	if got := list(t, d, deadletter.Query{}); got != nil {
		t.Errorf("got %v, want none", got)
	}
	if _, err := d.Get(1); !errors.Is(err, deadletter.ErrNotFound) {
		t.Errorf("got %v, want ErrNoLetter", err)
	}
	if got, err := d.Drop(1); got != nil || err != nil {
		t.Errorf("got %v, %v, want none", got, err)
	}
	if last, err := d.LastID(); last != 0 || err != nil {
		t.Errorf("got %d, %v, want 0", last, err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "dead.db")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want no file", err)
	}
}

func TestClose_FailsLaterCalls(t *testing.T) {
	d := openDead(t, t.TempDir())
	putSamples(t, d, 1)
	for range 2 {
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, listErr := d.List(t.Context(), deadletter.Query{})
	_, getErr := d.Get(1)
	_, dropErr := d.Drop(1)
	for _, err := range []error{d.Put(letter(1)), listErr, getErr, dropErr} {
		if !errors.Is(err, wal.ErrClosed) {
			t.Errorf("got %v, want ErrClosed", err)
		}
	}
}

// A letter that cannot be read is listed as damaged, hides no other letter, and can be dropped.
func TestList_ShowsDamagedLetters(t *testing.T) {
	dir := t.TempDir()
	d := openDead(t, dir)
	putSamples(t, d, 3)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	rewriteLetters(t, dir, func(b *bolt.Bucket) error {
		value := bytes.Clone(b.Get([]byte{7: 2}))
		value[len(value)-1] ^= 1
		return errors.Join(b.Put([]byte{7: 2}, value), b.Put([]byte{7: 3}, bytes.Clone(b.Get([]byte{7: 1}))))
	})
	d = openDead(t, dir)
	letters, err := d.List(t.Context(), deadletter.Query{})
	if err != nil || len(letters) != 3 {
		t.Fatalf("got %+v, %v, want three letters", letters, err)
	}
	for _, l := range letters {
		corrupt := (*wal.CorruptError)(nil)
		if got, want := errors.As(l.Damage, &corrupt), l.ID != 1; got != want {
			t.Errorf("letter %d: got damage %v, want one: %v", l.ID, l.Damage, want)
		}
		if _, err := d.Get(l.ID); (err != nil) != (l.ID != 1) || err != nil && !errors.As(err, &corrupt) {
			t.Errorf("letter %d: got %v", l.ID, err)
		}
	}
	if got, want := list(t, d, deadletter.Query{Stream: "stream0"}), []uint64{1}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got, err := d.Drop(2, 3); len(got) != 2 || err != nil {
		t.Errorf("got %v, %v, want both", got, err)
	}
}

func TestList_FailsAtAKeyThatIsNoID(t *testing.T) {
	dir := t.TempDir()
	rewriteLetters(t, dir, func(b *bolt.Bucket) error { return b.Put([]byte("zz"), []byte("zz")) })
	corrupt := (*wal.CorruptError)(nil)
	if _, err := openDead(t, dir).List(t.Context(), deadletter.Query{}); !errors.As(err, &corrupt) {
		t.Errorf("got %v, want a CorruptError", err)
	}
}

func rewriteLetters(t *testing.T, dir string, f func(b *bolt.Bucket) error) {
	t.Helper()
	db, err := bolt.Open(filepath.Join(dir, "dead.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte("dead"))
		if err != nil {
			return err
		}
		return f(b)
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

// For each page that is overwritten or missing, the result is an error or the right letters, and never a panic.
func TestQueue_ReadsNothingWrongFromDamagedPages(t *testing.T) {
	sound := t.TempDir()
	d := openDead(t, sound)
	putSamples(t, d, 200)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(sound, "dead.db"))
	if err != nil {
		t.Fatal(err)
	}
	const page = 4096
	for at := 0; at < len(whole); at += page {
		broken := bytes.Clone(whole)
		for i := at; i < min(at+page, len(broken)); i++ {
			broken[i] ^= 0xa5
		}
		tryDead(t, broken)
		tryDead(t, whole[:at])
	}
}

func tryDead(t *testing.T, file []byte) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "dead.db"), file, 0o600); err != nil {
		t.Fatal(err)
	}
	d := deadletter.Open(dir, deadletter.Options{})
	letters, err := d.List(t.Context(), deadletter.Query{})
	if corrupt := (*wal.CorruptError)(nil); err != nil && !errors.As(err, &corrupt) {
		t.Errorf("got %v, want a CorruptError", err)
	}
	for _, l := range letters {
		want := letter(int(l.ID - 1))
		if l.Damage == nil && (l.Key != want.Event.Key || l.Bytes != len(want.Event.Data) || l.Reason != want.Reason) {
			t.Errorf("got %+v, want %+v", l, want)
		}
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

func TestList_BesidePuts(t *testing.T) {
	d := openDead(t, t.TempDir())
	var group goSync.WaitGroup
	for range 3 {
		group.Go(func() {
			for n := range 20 {
				if err := d.Put(letter(n)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Go(func() {
		for range 20 {
			if _, err := d.List(t.Context(), deadletter.Query{}); err != nil {
				t.Error(err)
			}
		}
	})
	group.Wait()
	if got := len(list(t, d, deadletter.Query{})); got != 60 {
		t.Errorf("got %d letters, want 60", got)
	}
}
