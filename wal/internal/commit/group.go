package commit

import (
	"fmt"
	"math"
	"os"

	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal/internal/layout"
	"github.com/standpipe/standpipe/wal/internal/liveset"
	"github.com/standpipe/standpipe/wal/internal/producer"
	"github.com/standpipe/standpipe/wal/internal/receipt"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// group is the appends and the checkpoint that share a commit.
type group struct {
	tickets []*Ticket
	results []Appended
	parts   []*streamPart
	time    int64           // of its blocks
	blocks  [][]byte        // in the order in which they are stored
	end     segment.LeafEnd // after the last block
	need    int64           // the most by which the group makes the segment grow
	names   int64           // bytes that the group's new names add to the state
	begins  bool            // the group begins the newest segment, also without events
	events  int

	successor *liveset.Segment // of the segment that the group seals; nil: it seals none

	producers producer.Changes // the producers that the group changes
	receipts  receipt.Changes  // the receipts that the group changes
	carry     int64            // about how many bytes of the producers' entries to carry over; 0: none
	continued bool             // the segment lacks some of them after the commit

	checkpoint bool
	syncs      []syncCall
	cursors    []Entry
	deletions  deletions
}

// stores reports whether the group changes anything on the disk.
func (g *group) stores() bool {
	return len(g.parts)+len(g.cursors)+len(g.deletions.producers)+len(g.producers)+len(g.receipts) > 0 || g.begins || g.carry > 0
}

// carryStep is about the most bytes of the producers' entries that a commit carries over into a new segment, unless its
// events take twice as many.
const carryStep = 64 << 10

// carries sets the bytes of entries to carry over. The segment is not sealed before it has all entries. Commits of many
// events carry half as many bytes, so that it does not outgrow twice the entries meanwhile. all: a full log needs the segment
// before this one unlinked.
func (g *group) carries(seg *liveset.Segment, all bool) {
	switch {
	case !seg.Preallocated() && !seg.Continued() || !g.stores() && !seg.Continued():
	case all:
		g.carry = math.MaxInt64
	case seg.Preallocated():
		g.carry = carryStep
	default:
		g.carry = max(carryStep, int64(g.length()/2))
	}
}

func (g *group) add(t *Ticket, a Appended) {
	g.tickets = append(g.tickets, t)
	g.results = append(g.results, a)
}

// streamPart is the part of a group that is appended to one stream.
type streamPart struct {
	stream  Stream
	name    string
	next    uint64 // offset of the next event
	first   uint64 // next, when the group began
	bytes   uint64 // of the payloads of all events before first
	tickets []*Ticket
}

// part returns the stream's part of this group.
func (g *group) part(c *Committer, name string) *streamPart {
	if p := c.parts[name]; p != nil {
		return p
	}
	s := c.o.Streams.Pin(name)
	p := &streamPart{stream: s, name: s.Name()}
	p.first, p.bytes = s.End()
	p.next = p.first
	c.parts[p.name] = p
	g.parts = append(g.parts, p)
	return p
}

// lay lays the group's events into blocks, stream by stream, after the last leaf of the segment.
func (g *group) lay(b *layout.Builder, end segment.LeafEnd) {
	b.Reset(end, g.time, g.length())
	for _, part := range g.parts {
		b.StartStream(part.name, part.first, part.bytes)
		for _, t := range part.tickets {
			note := t.note()
			b.Add(&t.frames, &note)
		}
	}
	g.blocks, g.end = b.Finish()
}

// length returns the bytes of the frames of all tickets.
func (g *group) length() (n int) {
	for _, part := range g.parts {
		for _, t := range part.tickets {
			n += t.frames.Len()
		}
	}
	return n
}

// bytes returns the length of the group's blocks.
func (g *group) bytes() (n int64) {
	for _, value := range g.blocks {
		n += int64(len(value))
	}
	return n
}

// update stores the group with a transaction of bbolt.
func (g *group) update(c *Committer, seg *liveset.Segment) error {
	seg.Prewrite(g.bytes() + seg.SmallGrowth())
	return seg.Update(func(tx *bolt.Tx) error {
		if seg.Preallocated() {
			if err := c.o.BeginState(tx); err != nil {
				return err
			}
		}
		if err := g.write(c, tx, seg); err != nil || g.successor == nil {
			return err
		}
		return seg.PutSeal(tx, g.blocks)
	})
}

// write puts everything in the group into tx.
func (g *group) write(c *Committer, tx *bolt.Tx, seg *liveset.Segment) error {
	if err := seg.PutBlocks(tx, g.blocks); err != nil {
		return err
	}
	state := seg.State(tx)
	return g.writeState(c, seg, &state)
}

// storeSmall stores the group as a small commit of the segment, and reports whether it has done so.
func (g *group) storeSmall(c *Committer, seg *liveset.Segment) (stored bool, err error) {
	if c.closed || seg.Preallocated() || g.successor != nil || g.carry > 0 || len(g.deletions.producers) > 0 || g.bytes() > int64(os.Getpagesize()) {
		return false, nil
	}
	return seg.Small(g.blocks, func(state *segment.StateWriter) error { return g.writeState(c, seg, state) })
}

// writeState puts the group's entries of the state.
func (g *group) writeState(c *Committer, seg *liveset.Segment, state *segment.StateWriter) error {
	if err := g.writeProducers(c.producers, seg, state); err != nil {
		return err
	}
	if err := c.receipts.Write(g.receipts, state); err != nil {
		return err
	}
	for _, step := range g.cursors {
		if err := state.Put(step.Key(), step.Value()); err != nil {
			return fmt.Errorf("put cursor: %w", err)
		}
	}
	return c.producers.Delete(g.deletions.producers, state)
}

// writeProducers puts the entries of the new producers into tx, and those of known ones that the segment lacks.
func (g *group) writeProducers(ps *producer.Set, seg *liveset.Segment, state *segment.StateWriter) error {
	noted := seg.NotedWith(g.blocks)
	if err := ps.Put(g.producers, state, noted); err != nil || g.carry == 0 {
		return err
	}
	state.FillPages()
	done, err := ps.Carry(state, g.carry, noted)
	if g.continued = !done; err != nil || g.continued == seg.Continued() {
		return err
	}
	return state.PutContinued(g.continued)
}

// respond returns the outcome to all callers that wait for the group.
func (g *group) respond(c *Committer, err error) {
	for _, p := range g.parts {
		p.stream.Unpin()
	}
	clear(c.parts)
	clear(g.blocks)
	for i, t := range g.tickets {
		if err != nil {
			c.end(t, err)
			continue
		}
		c.respond(t, g.results[i], nil)
	}
	if len(g.syncs) > 0 {
		c.respondSyncs(g.syncs, err)
	}
}
