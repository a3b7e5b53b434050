package wal

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

// group is the appends and checkpoints that share a commit.
type group struct {
	tickets []*Ticket
	results []Appended
	parts   []*part
	time    int64    // of its blocks
	blocks  [][]byte // in the order in which they are stored
	end     leafEnd  // where they end
	need    int64    // the most by which the group makes the segment grow
	names   int64    // bytes that the group's new names add to the state
	begins  bool     // the group begins the newest segment, also without events
	events  int

	successor *segmentFile // of the segment that ends with the group; nil: it goes on

	sequences map[producerKey]*producer // as they were before this group; nil: unknown

	checkpoint bool
	syncs      []syncCall
	cursors    []cursorStep
	gone       [][]byte // keys of places that were removed
}

func (g *group) add(t *Ticket, a Appended) {
	g.tickets = append(g.tickets, t)
	g.results = append(g.results, a)
}

// part is what a group appends to one stream.
type part struct {
	stream  *stream
	next    uint64 // offset of the next event
	tickets []*Ticket
}

// part returns the stream's part of this group.
func (g *group) part(c *committer, name string) *part {
	if p := c.parts[name]; p != nil {
		return p
	}
	s := c.log.pin(name)
	p := &part{stream: s, next: s.next} // whoever has the turn alone changes it
	c.parts[s.name] = p
	g.parts = append(g.parts, p)
	return p
}

// lay makes the group's blocks, stream by stream.
func (g *group) lay(p *packer, end leafEnd) {
	p.reset(end, g.time, g.length())
	for _, part := range g.parts {
		p.turn(part.stream.name, part.stream.next, part.stream.bytes)
		for _, t := range part.tickets {
			p.add(t)
		}
	}
	p.finish()
	g.blocks, g.end = p.blocks, p.end
}

// length returns the bytes of the frames of all tickets.
func (g *group) length() (n int) {
	for _, part := range g.parts {
		for _, t := range part.tickets {
			n += len(t.frames)
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

// sequence notes what the producer of t has stored, and how it was before.
func (g *group) sequence(c *committer, t *Ticket, first uint64, now time.Time) {
	p := c.producers[t.producer]
	if g.sequences == nil {
		g.sequences = make(map[producerKey]*producer)
	}
	if _, noted := g.sequences[t.producer]; !noted {
		g.sequences[t.producer] = p.clone()
	}
	if p == nil {
		p = &producer{}
		c.producers[producerKey{strings.Clone(t.producer.id), strings.Clone(t.producer.stream)}] = p
	}
	if p.mayLeap && t.sequence > p.next {
		c.log.opts.Logger.Warn("events of a producer are missing from this copy of the log", "stream", t.stream, "producer", t.producer.id,
			"first_sequence", p.next, "events", t.sequence-p.next)
	}
	most := c.mostRuns(p)
	p.stored(t.sequence, first, uint64(t.events), now)
	p.keepRuns(most)
	c.resize(t.producer, p)
}

// undo forgets what the group's producers would have stored.
func (g *group) undo(c *committer) {
	for key, before := range g.sequences {
		if before == nil {
			c.addPages(-c.producers[key].pages)
			delete(c.producers, key)
			continue
		}
		c.addPages(before.pages - c.producers[key].pages)
		*c.producers[key] = *before // the map would take the key, whose texts are a batch's
	}
}

// answer tells everybody who waits for the group how it went.
func (g *group) answer(c *committer, err error) {
	for _, p := range g.parts {
		c.log.unpin(p.stream)
	}
	clear(c.parts)
	clear(g.blocks)
	for i, t := range g.tickets {
		if err != nil {
			c.drop(t, err)
			continue
		}
		c.finish(t, g.results[i], nil)
	}
	if len(g.syncs) > 0 {
		c.answerSyncs(g.syncs, err)
	}
}

// write puts everything of the group into tx.
func (g *group) write(c *committer, tx *bolt.Tx, seg *segmentFile) error {
	if err := g.writeBlocks(tx, seg); err != nil {
		return err
	}
	state := stateWriter{bucket: tx.Bucket(bucketState), summed: seg.summed}
	for _, key := range c.forgotten {
		if err := state.bucket.Delete(stateKey(stateProducer, key.stream, key.id)); err != nil {
			return fmt.Errorf("delete producer: %w", err)
		}
	}
	for _, key := range g.gone {
		if err := state.bucket.Delete(key); err != nil {
			return fmt.Errorf("delete place: %w", err)
		}
	}
	for key := range g.sequences {
		if err := state.Put(stateKey(stateProducer, key.stream, key.id), c.producers[key].append(nil)); err != nil {
			return fmt.Errorf("put producer: %w", err)
		}
	}
	for _, step := range g.cursors {
		if err := state.Put(step.key, step.value); err != nil {
			return fmt.Errorf("put place: %w", err)
		}
	}
	return nil
}

// writeBlocks puts the blocks after all others: append only, so pages are filled whole.
func (g *group) writeBlocks(tx *bolt.Tx, seg *segmentFile) error {
	bucket, number := tx.Bucket(bucketBlocks), seg.last
	bucket.FillPercent = 1
	var key [8]byte // bbolt copies keys
	for _, value := range g.blocks {
		number++
		sealBlock(value, seg.seq, number)
		binary.BigEndian.PutUint64(key[:], number)
		if err := bucket.Put(key[:], value); err != nil {
			return fmt.Errorf("put block %d: %w", number, err)
		}
	}
	if number == seg.last {
		return nil
	}
	return bucket.SetSequence(number)
}
