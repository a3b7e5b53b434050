package deadletters

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/agent/ingest"
	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/deadletter"
)

const (
	// sweepPart is the number of letters that are read, appended and removed together.
	sweepPart = 100
	// sweepTime is the time after which a request for many letters responds with the position for the next one. sweepLimit
	// ends an append that waits for space.
	sweepTime  = 5 * time.Second
	sweepLimit = 20 * time.Second
)

// Options are the parts of the agent that Letters works with.
type Options struct {
	Queue   *deadletter.Queue
	Count   *Count         // of the letters in Queue
	Streams ingest.Streams // the streams that accept events
	Submit  func(context.Context, *wal.Batch) (*wal.Ticket, error)
	Ready   func() error // returns an error if no event may be appended
	Logger  hclog.Logger
}

// Letters implements admin.Dead.
type Letters struct {
	opts Options
	mu   sync.Mutex // held during changes, so that no two requests append the same letter
}

// New returns the letters of a queue.
func New(o Options) *Letters { return &Letters{opts: o} }

// List returns letters without their data.
func (l *Letters) List(ctx context.Context, q admin.DeadQuery) (list admin.DeadList, err error) {
	stats, err := l.opts.Queue.List(ctx, deadletter.Query{Stream: q.Stream, Destination: q.Destination, After: q.After, Limit: q.Limit})
	if err != nil {
		return list, err
	}
	for _, s := range stats {
		list.Letters = append(list.Letters, deadStat(s))
	}
	if len(stats) == q.Limit {
		list.Next = stats[len(stats)-1].ID
	}
	return list, nil
}

func deadStat(s deadletter.Stat) admin.DeadStat {
	d := admin.DeadStat{
		ID: s.ID, Stream: s.Stream, Destination: s.Destination, Offset: s.Offset,
		Key: s.Key, Bytes: s.Bytes, Reason: s.Reason, RefusedAt: admin.Time{Time: s.At},
	}
	if s.Damage != nil {
		d.Damage = s.Damage.Error()
	}
	return d
}

// Show returns one letter.
func (l *Letters) Show(_ context.Context, id uint64) (shown admin.DeadLetter, err error) {
	d, err := l.opts.Queue.Get(id)
	if errors.Is(err, deadletter.ErrNotFound) {
		err = fmt.Errorf("%w: id %d", admin.ErrNoLetter, id)
	}
	if err != nil {
		return shown, err
	}
	shown.DeadStat = admin.DeadStat{
		ID: id, Stream: d.Stream, Destination: d.Destination, Offset: d.Event.Offset, Key: d.Event.Key,
		Bytes: len(d.Event.Data), Reason: d.Reason, RefusedAt: admin.Time{Time: d.At},
	}
	shown.Time = admin.Time{Time: time.Unix(0, d.Event.Time)}
	shown.Attributes = d.Event.Attributes
	shown.SetData(d.Event.Data)
	return shown, nil
}

// Requeue appends events again and removes their letters.
func (l *Letters) Requeue(ctx context.Context, c admin.DeadChoice) (out admin.DeadOutcome, err error) {
	if err := l.opts.Ready(); err != nil {
		return out, fmt.Errorf("%w: %w", admin.ErrUnavailable, err)
	}
	err = l.sweep(ctx, c, &out, l.requeue)
	l.opts.Logger.Info("dead letters requeued", "events", out.Requeued, "refused", len(out.Refused), "stopped", out.Stopped)
	return out, err
}

// Drop removes letters.
func (l *Letters) Drop(ctx context.Context, c admin.DeadChoice) (out admin.DeadOutcome, err error) {
	err = l.sweep(ctx, c, &out, l.drop)
	l.opts.Logger.Info("dead letters dropped", "events", out.Dropped, "refused", len(out.Refused), "stopped", out.Stopped)
	return out, err
}

// DropAll removes all letters of a destination.
func (l *Letters) DropAll(ctx context.Context, stream, destination string) (dropped int, err error) {
	for c := (admin.DeadChoice{Stream: stream, Destination: destination}); ; {
		var out admin.DeadOutcome
		err := l.sweep(ctx, c, &out, l.drop)
		if err == nil && out.Stopped != "" {
			err = errors.New(out.Stopped)
		}
		if dropped += out.Dropped; err != nil || out.Next == 0 {
			return dropped, err
		}
		c.After, c.Until = out.Next, out.Until
	}
}

// change requeues or drops letters and adds the results to out.
type change func(ctx context.Context, ids []uint64, out *admin.DeadOutcome) error

// sweep applies do to the letters of the choice. An error after the first result becomes part of the outcome.
func (l *Letters) sweep(ctx context.Context, c admin.DeadChoice, out *admin.DeadOutcome, do change) (err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, sweepLimit)
	defer cancel()
	defer l.opts.Count.Recount()
	if len(c.IDs) > 0 {
		err = l.sweepIDs(ctx, c.IDs, out, do)
	} else {
		err = l.sweepAll(ctx, c, out, do)
	}
	if err != nil && out.Requeued+out.Dropped+len(out.Refused) > 0 {
		out.Stopped, out.Next, err = err.Error(), 0, nil
	}
	return err
}

// sweepAll applies do to the letters that match the choice, until sweepTime has passed.
func (l *Letters) sweepAll(ctx context.Context, c admin.DeadChoice, out *admin.DeadOutcome, do change) (err error) {
	q := deadletter.Query{Stream: c.Stream, Destination: c.Destination, After: c.After, Until: c.Until, Limit: sweepPart}
	if q.Until == 0 {
		if q.Until, err = l.opts.Queue.LastID(); err != nil || q.Until == 0 {
			return err
		}
	}
	out.Until = q.Until
	for begin := time.Now(); ; {
		ids, err := l.choose(ctx, q)
		if err != nil {
			return err
		}
		if err := do(ctx, ids, out); err != nil {
			return err
		}
		if len(ids) < sweepPart || out.Stopped != "" {
			return nil
		}
		q.After = ids[len(ids)-1]
		if time.Since(begin) > sweepTime || len(out.Refused) >= admin.MaxDeadIDs {
			out.Next = q.After
			return nil
		}
	}
}

func (l *Letters) choose(ctx context.Context, q deadletter.Query) (ids []uint64, err error) {
	stats, err := l.opts.Queue.List(ctx, q)
	for _, s := range stats {
		ids = append(ids, s.ID)
	}
	return ids, err
}

func (l *Letters) sweepIDs(ctx context.Context, ids []uint64, out *admin.DeadOutcome, do change) error {
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	for part := range slices.Chunk(ids, sweepPart) {
		if err := do(ctx, part, out); err != nil || out.Stopped != "" {
			return err
		}
	}
	return nil
}

// requeue submits all events to the WAL, so that they share its commits, and removes the letters of the synced events in one
// commit.
func (l *Letters) requeue(ctx context.Context, ids []uint64, out *admin.DeadOutcome) error {
	tickets := make(map[uint64]*wal.Ticket)
	var stored []uint64
	for _, id := range ids {
		t, err := l.resubmit(ctx, id)
		if err != nil {
			reject(out, id, err)
			continue
		}
		tickets[id] = t
	}
	for _, id := range ids {
		if tickets[id] == nil {
			continue
		}
		if _, err := tickets[id].Wait(ctx); err != nil {
			reject(out, id, err)
			continue
		}
		stored = append(stored, id)
	}
	out.Requeued += len(stored)
	if _, err := l.opts.Queue.Drop(stored...); err != nil {
		return fmt.Errorf("the events of %d letters are in their streams again, but the letters may still be there: %w", len(stored), err)
	}
	return nil
}

// resubmit submits a letter's event to the WAL, unless its stream no longer accepts it.
func (l *Letters) resubmit(ctx context.Context, id uint64) (*wal.Ticket, error) {
	letter, err := l.opts.Queue.Get(id)
	if err != nil {
		return nil, err
	}
	rules, err := l.opts.Streams.Lookup(letter.Stream)
	if err != nil {
		return nil, err
	}
	limit, destination := rules.Room(&letter.Event)
	if size := len(letter.Event.Data); destination != "" && size > limit {
		return nil, fmt.Errorf("data has %d bytes; destination %s takes %d", size, destination, max(limit, 0))
	}
	return l.opts.Submit(ctx, &wal.Batch{Stream: letter.Stream, Events: []wal.Event{letter.Event}})
}

// reject adds a letter that stays to out. An error of the WAL or of the request stops the sweep: later letters would get it
// too.
func reject(out *admin.DeadOutcome, id uint64, err error) {
	out.Refused = append(out.Refused, admin.DeadRefusal{ID: id, Reason: err.Error()})
	for _, general := range []error{wal.ErrFull, wal.ErrFailed, wal.ErrClosed, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, general) {
			out.Stopped = err.Error()
		}
	}
}

func (l *Letters) drop(_ context.Context, ids []uint64, out *admin.DeadOutcome) error {
	dropped, err := l.opts.Queue.Drop(ids...)
	if err != nil {
		return err
	}
	out.Dropped += len(dropped)
	for _, id := range ids {
		if !slices.Contains(dropped, id) {
			reject(out, id, fmt.Errorf("%w: id %d", admin.ErrNoLetter, id))
		}
	}
	return nil
}
