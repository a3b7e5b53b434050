package shipper

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/standpipe/standpipe/shipper/internal/backoff"
	"github.com/standpipe/standpipe/shipper/internal/catchup"
	"github.com/standpipe/standpipe/shipper/internal/yield"
	"github.com/standpipe/standpipe/wal"
)

const (
	// readWindow is the distance, in offsets, within which lanes are read together.
	readWindow = 4096
	// Once the end of the log is met, the next look at it waits this part of MaxDelay, at most readPauseMax: events are
	// batched anyway, and waking for each append would slow its producer's commits.
	readPauseShare = 20
	readPauseMax   = 50 * time.Millisecond
	// readAgain is the pause after a read that failed.
	readAgain = time.Second
)

// feed reads the log into the lanes' queues. One goroutine, run, waits for the disk; everything else is used by Run's
// goroutine.
type feed struct {
	source   Source
	stream   string
	lanes    *lanes
	throttle yield.Throttle
	maxDelay time.Duration
	pause    time.Duration // after the end of the log was met
	growth   growth
	heard    bool // the last wait of Run would have ended with an append

	wants    chan want // to the reader; closed by Run
	reads    chan read // from the reader
	reading  bool
	readAt   time.Time // no read before: the last one met the log's end, or failed
	caughtUp time.Time // when the log's end was last met
	appended uint64    // bytes of the stream's payloads before the read
	turn     uint64    // of reads

	stopped atomic.Bool // a search is to end early
}

// want requests the events of some lanes from an offset on. Events at or after until, which the same blocks may have,
// are ignored.
type want struct {
	from, until uint64
	lanes       wal.LaneSet
	limit       int // bytes

	// Instead of a read:
	lose   func() (next uint64, err error) // gives up the corrupt part that one has met
	search *catchup.Search                 // for the newest events of a backlog
}

// read is the reader's result.
type read struct {
	until uint64
	chunk wal.Chunk
	err   error
	lost  bool // a corrupt part was given up: the cursor has settled its events

	searched bool
	newest   []wal.Event // of a search
}

func newFeed(source Source, stream string, lanes *lanes, maxDelay time.Duration) *feed {
	return &feed{
		source: source, stream: stream, lanes: lanes, maxDelay: maxDelay, pause: readPause(maxDelay),
		throttle: yield.New(source.Flow(), source.Appended(stream).Bytes),
		wants:    make(chan want, 1),
		reads:    make(chan read, 1),
	}
}

// run is the reader: it waits for the disk so that Run need not. It ends with wants.
func (f *feed) run() {
	for w := range f.wants {
		if w.search != nil {
			f.reads <- read{until: w.until, searched: true, newest: w.search.Run()}
			continue
		}
		if w.lose != nil {
			next, err := w.lose()
			f.reads <- read{until: w.until, chunk: wal.Chunk{Next: next}, err: err, lost: true}
			continue
		}
		chunk, err := f.source.Read(f.stream, w.from, w.lanes, w.limit)
		f.reads <- read{until: w.until, chunk: chunk, err: err}
	}
}

// search makes the reader search for the newest events of a backlog. No read is under way.
func (f *feed) search(newest *catchup.Search) {
	f.reading = true
	f.wants <- want{until: newest.Until, search: newest}
}

// lose makes the reader give up the corrupt part that r has met. The lanes of the read stay reserved until that is done.
func (f *feed) lose(r *read, corrupt *wal.CorruptError, cursor Cursor) {
	f.wants <- want{until: r.until, lose: cursor.Lose(corrupt, r.chunk.Next, f.lanes.heldEvents())}
}

// grown returns a channel that is closed when there are new events, or nil while they are not to be read yet.
func (f *feed) grown(now time.Time) <-chan struct{} {
	if f.reading || now.Before(f.readAt) || now.Before(f.growth.Again) {
		return nil
	}
	return f.source.Grown(f.stream)
}

// demand is the part of the shipper's state that the feed and the batcher depend on.
type demand struct {
	finishing bool   // everything is to be sent at once
	retrying  bool   // all requests fail
	down      bool   // and more than one has
	floor     uint64 // events below are to be dropped
	enough    int    // bytes of events that may be worth a request before it is due; 0: any
}

// next requests a read where lanes want one: for the lane that was read for the longest time ago, and for those that
// stand near it. So a lane that is far behind and one at the end take turns. It returns the time until it has to be
// called again.
func (f *feed) next(now time.Time, d demand) time.Duration {
	switch {
	case f.reading:
		return backoff.Forever
	case now.Before(f.readAt):
		return f.readAt.Sub(now)
	}
	// Events to be dropped are read first, to be counted: that needs no memory.
	if f.request(want{until: d.floor, limit: readBytes}, func(l *lane) bool { return l.drops(d.floor) }) {
		return backoff.Forever
	}
	if wait := f.wait(now, d); wait > 0 {
		return wait
	}
	if !d.finishing {
		f.throttle.Update(now, f.source.Flow(), f.source.Appended(f.stream).Bytes)
		if wait := f.throttle.Wait(); wait > 0 {
			return wait
		}
	}
	end, room := f.source.Next(f.stream), 0
	if d.down {
		room = f.lanes.outageRoom()
	} else {
		room = f.lanes.room(now)
	}
	if room <= 0 {
		return backoff.Forever
	}
	// Lanes that wait for their pace come after those that could send: their events would fill the memory, be evicted for
	// the others' sake, and be read again, for ever.
	starved := f.lanes.starved(now)
	f.request(want{until: math.MaxUint64, limit: min(room, readBytes, f.lanes.memory/laneShare)}, func(l *lane) bool {
		return l.unread(end) && !l.failures.BackingOff(now) && l.bytes < f.lanes.laneLimit(now, l) && !(starved && l.pacing.Holds(now))
	})
	return backoff.Forever
}

// request sends w to the reader for the hungry lane that was served longest ago, and for the hungry ones near it. It
// returns false when none is hungry.
func (f *feed) request(w want, hungry func(*lane) bool) bool {
	var first *lane
	for _, l := range f.lanes.all {
		if hungry(l) && (first == nil || l.served < first.served || l.served == first.served && l.next < first.next) {
			first = l
		}
	}
	if first == nil {
		return false
	}
	f.turn++
	for _, l := range f.lanes.all {
		if hungry(l) && l.next >= first.next && l.next-first.next <= readWindow {
			l.reading, l.served = true, f.turn
			w.lanes |= l.set
		}
	}
	w.from = first.next
	f.reading, f.appended = true, f.source.Appended(f.stream).Bytes
	f.wants <- w
	return true
}

// took puts read events into their lanes' queues. Events below the floor are only counted. It returns those counts; or
// the error of the read.
func (f *feed) took(r read, floor wal.Floor, finishing bool) (drops, error) {
	f.reading = false
	now := time.Now()
	if r.err != nil {
		for _, l := range f.lanes.all {
			l.reading = false
		}
		f.readAt = now.Add(readAgain)
		return nil, r.err
	}
	// Events that no look has found may have been appended as far back as the pause before the read.
	since := now.Add(-f.pause)
	if since.Before(f.caughtUp) {
		since = f.caughtUp
	}
	dropped := make(drops)
	for i := range r.chunk.Events {
		e := &r.chunk.Events[i]
		f.throttle.Read(len(e.Data))
		l := f.lanes.of(e)
		if !l.reading || e.Offset < l.next || e.Offset >= r.until || f.lanes.settled(l, e) {
			continue
		}
		if e.Offset < floor.Offset() && !l.inRequest() {
			dropped.add(e, floor)
			continue
		}
		f.lanes.push(l, e, f.growth.Since(e.Offset, since))
	}
	if r.chunk.End {
		f.growth.Met(r.chunk.Next, f.appended, now)
		f.caughtUp = now
		if !finishing {
			f.readAt = now.Add(f.pause)
		}
	}
	for _, l := range f.lanes.all {
		if l.reading {
			l.readTo(min(r.chunk.Next, r.until))
			l.reading = false
		}
	}
	return dropped, nil
}

// readPause returns the pause of looks once the end of the log is met.
func readPause(maxDelay time.Duration) time.Duration {
	return min(maxDelay/readPauseShare, readPauseMax)
}
