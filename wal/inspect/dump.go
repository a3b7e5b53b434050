package inspect

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/standpipe/standpipe/wal/internal/segment"
	"github.com/standpipe/standpipe/wal/timeline"
)

// DumpOptions selects the events to dump. The zero value of a field selects all.
type DumpOptions struct {
	Stream       string
	Key          string
	From, To     uint64    // offsets [From, To)
	Since, Until time.Time // of the event's own time, [Since, Until)

	// Damaged is called for every part that cannot be read and is skipped. If it is nil, the first such part ends the
	// dump.
	Damaged func(*segment.CorruptError)
}

// DumpedEvent is an event and the stream that it belongs to. Its bytes belong to the callback.
type DumpedEvent struct {
	Stream string
	segment.Event
}

// Dump calls f for the events in the log of the data directory dir, also beside a running agent. The events come in
// the order in which they were stored: each stream's offsets rise, and the streams are interleaved. From each segment
// Dump reads the events that were committed when it came to that segment. Segments that are created after the start
// are left out, and segments that are truncated before their turn leave a gap. An error of f ends the dump.
//
// Errors: ErrNoLog; a *CorruptError if Damaged is nil; a *VersionError for a file of a later release; those of the
// file system, of f and of ctx.
func Dump(ctx context.Context, dir string, o DumpOptions, f func(DumpedEvent) error) error {
	files, err := listLog(ctx, dir)
	if err != nil {
		return err
	}
	d := dumping{DumpOptions: o, f: f, times: timeline.New(dir)}
	if err := d.times.Load(); err != nil {
		return err
	}
	if d.To == 0 {
		d.To = math.MaxUint64
	}
	if o.Key != "" {
		d.lanes = segment.LaneSet(0).With(segment.LaneOf(o.Key))
	} else {
		d.lanes = segment.AllLanes
	}
	for i := range files.segments {
		if err := d.segment(ctx, &files, &files.segments[i]); err != nil {
			return err
		}
	}
	return nil
}

// dumping is a Dump under way.
type dumping struct {
	DumpOptions
	lanes segment.LaneSet
	times *timeline.Table
	f     func(DumpedEvent) error
	ended error // the damage that ended the dump
}

func (d *dumping) segment(ctx context.Context, files *logFiles, info *SegmentInfo) error {
	file, _, gone, err := files.open(ctx, info)
	if err := segment.ReportCorrupt(err, d.damaged); err != nil || gone || file == nil {
		return errors.Join(err, d.ended)
	}
	defer file.Close()
	w := segment.BlockWalk{
		File:  file,
		Visit: func(b *segment.Block) error { return errors.Join(d.block(b), d.ended) },
		Bad:   d.lose,
	}
	return errors.Join(w.Run(ctx), d.ended)
}

// lose reports blocks that cannot be read, unless they are known to belong to another stream.
func (d *dumping) lose(lost segment.LostBlocks, why *segment.CorruptError) {
	if s := lost.Of.Stream; s == "" || d.Stream == "" || s == d.Stream {
		d.damaged(why)
	}
}

func (d *dumping) damaged(err *segment.CorruptError) {
	if d.Damaged != nil {
		d.Damaged(err)
	} else if d.ended == nil {
		d.ended = err
	}
}

// block dumps the wanted events of a block.
func (d *dumping) block(b *segment.Block) error {
	if b.Lanes&d.lanes == 0 || d.Stream != "" && b.Stream != d.Stream || b.Next() <= d.From || b.First >= d.To {
		return nil
	}
	return b.Each(func(lane uint8, offset uint64, raw []byte) error {
		e := segment.Event{Offset: offset, Lane: lane}
		if err := segment.DecodeEvent(raw, &e); err != nil {
			return segment.FaultyBlock(err.Error())
		}
		d.times.Correct(&e)
		if !d.wants(&e) {
			return nil
		}
		return d.f(DumpedEvent{b.Stream, e})
	})
}

func (d *dumping) wants(e *segment.Event) bool {
	at := time.Unix(0, e.Time)
	return e.Offset >= d.From && e.Offset < d.To &&
		(d.Key == "" || e.Key == d.Key) &&
		(d.Since.IsZero() || !at.Before(d.Since)) &&
		(d.Until.IsZero() || at.Before(d.Until))
}
