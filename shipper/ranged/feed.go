package ranged

import (
	"errors"
	"time"

	"github.com/standpipe/standpipe/shipper/internal/backoff"
	"github.com/standpipe/standpipe/shipper/internal/yield"
	"github.com/standpipe/standpipe/wal"
)

const (
	// Once the end of the log is met, the next read waits this part of MaxDelay, at most readPauseMax: waking for each append
	// would slow its producer's commits.
	readPauseShare = 20
	readPauseMax   = 50 * time.Millisecond
	// readAgain is the pause after a failure of the log.
	readAgain = time.Second
)

// feed reads the log, one chunk at a time. One goroutine, run, waits for the disk; everything else is used by Run's
// goroutine.
type feed struct {
	source   Log
	stream   string
	limit    int // bytes of memory of a chunk
	throttle yield.Throttle
	pause    time.Duration // after the end of the log was met

	wants   chan want  // to the reader; closed by Run
	chunks  chan chunk // from the reader
	reading bool
	readAt  time.Time // no read before: the last one met the log's end, or failed
}

// want requests the events from an offset on.
type want struct {
	from uint64
	lose func() (next uint64, err error) // instead of a read: gives up the corrupt part that one has met
}

// chunk is the result of a read.
type chunk struct {
	wal.Chunk
	from uint64
	err  error
	lost bool // a corrupt part was given up: the cursor has settled its events
}

func newFeed(source Log, stream string, limit int, maxDelay time.Duration) *feed {
	return &feed{
		source: source, stream: stream, limit: limit, pause: min(maxDelay/readPauseShare, readPauseMax),
		throttle: yield.New(source.Flow(), source.Appended(stream).Bytes),
		wants:    make(chan want, 1),
		chunks:   make(chan chunk, 1),
	}
}

// run is the reader. It ends with wants.
func (f *feed) run() {
	for w := range f.wants {
		if w.lose != nil {
			next, err := w.lose()
			f.chunks <- chunk{Chunk: wal.Chunk{Next: next}, from: w.from, err: err, lost: true}
			continue
		}
		f.chunks <- f.read(w.from)
	}
}

// read reads the events from an offset on.
func (f *feed) read(from uint64) chunk {
	read, err := f.source.Read(f.stream, from, wal.AllLanes, f.limit)
	return chunk{Chunk: read, from: from, err: err}
}

// request requests the events from an offset on, if it is time for a read. It returns the time until it has to be called
// again.
func (f *feed) request(now time.Time, from uint64, finishing bool) time.Duration {
	switch {
	case f.reading:
		return backoff.Forever
	case now.Before(f.readAt):
		return f.readAt.Sub(now)
	case from >= f.source.Next(f.stream):
		return backoff.Forever
	}
	if !finishing {
		f.throttle.Update(now, f.source.Flow(), f.source.Appended(f.stream).Bytes)
		if wait := f.throttle.Wait(); wait > 0 {
			return wait
		}
	}
	f.reading = true
	f.wants <- want{from: from}
	return backoff.Forever
}

// took notes that a read has ended.
func (f *feed) took(c *chunk, finishing bool) {
	f.reading = false
	switch now := time.Now(); {
	case c.err != nil:
		f.readAt = now.Add(readAgain)
	case c.End && !finishing:
		f.readAt = now.Add(f.pause)
	}
	for i := range c.Events {
		f.throttle.Read(len(c.Events[i].Data))
	}
}

// stopped reports whether err means that the log was closed.
func stopped(err error) bool { return errors.Is(err, wal.ErrClosed) }

// readNow reads the events from an offset on, and gives up a corrupt part. held are the events that are held meanwhile:
// none where the queue is discarded afterwards.
func (f *feed) readNow(from uint64, cursor Cursor, held *wal.Held) chunk {
	c := f.read(from)
	var corrupt *wal.CorruptError
	if errors.As(c.err, &corrupt) {
		c.Next, c.err = cursor.Lose(corrupt, c.Next, held)()
		c.lost = c.err == nil
	}
	return c
}
