package wal

import (
	"fmt"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

// group is the appends and checkpoints that share a commit.
type group struct {
	tickets []*Ticket
	results []Appended
	packers []*packer
	need    int64 // the most by which the group makes the segment grow
	events  int

	sequences map[producerKey]*producer // as they were before this group; nil: unknown

	checkpoint bool
	syncs      []chan error
	places     []placeStep
}

// placeStep is a place as a commit writes it.
type placeStep struct {
	place *Place
	key   []byte
	value []byte
	low   uint64
	state []byte
}

func (g *group) add(t *Ticket, a Appended) {
	g.tickets = append(g.tickets, t)
	g.results = append(g.results, a)
}

// packer returns the packer of a stream in this group.
func (g *group) packer(c *committer, name string, now time.Time) *packer {
	p := c.packers[name]
	if p != nil {
		return p
	}
	p = &packer{}
	if n := len(c.spare); n > 0 {
		p, c.spare = c.spare[n-1], c.spare[:n-1]
	}
	s := c.log.stream(name)
	p.reset(s, now.UnixNano())
	c.packers[s.name] = p
	g.packers = append(g.packers, p)
	return p
}

// keep keeps the packers of a group that is done for the next ones, as far as they are not too large.
func (c *committer) keep(packers []*packer) {
	clear(c.packers)
	kept := 0
	for _, p := range c.spare {
		kept += cap(p.buf)
	}
	for _, p := range packers {
		clear(p.blocks)
		if kept += cap(p.buf); kept <= maxSpare {
			c.spare = append(c.spare, p)
		}
	}
}

// bytes returns the length of the group's blocks.
func (g *group) bytes() (n int64) {
	for _, p := range g.packers {
		for _, b := range p.blocks {
			n += int64(len(b.value))
		}
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
	p.stored(t.sequence, first, uint64(t.events), now)
}

// undo forgets what the group's producers would have stored.
func (g *group) undo(c *committer) {
	for key, before := range g.sequences {
		if before == nil {
			delete(c.producers, key)
			continue
		}
		c.producers[key] = before
	}
}

// answer tells everybody who waits for the group how it went.
func (g *group) answer(c *committer, err error) {
	c.keep(g.packers)
	for i, t := range g.tickets {
		if err != nil {
			c.drop(t, err)
			continue
		}
		c.finish(t, g.results[i], nil)
	}
	for _, s := range g.syncs {
		s <- err
	}
}

// write puts everything of the group into tx.
func (g *group) write(c *committer, tx *bolt.Tx) error {
	for _, p := range g.packers {
		if err := p.write(tx); err != nil {
			return err
		}
	}
	state := tx.Bucket(bucketState)
	for _, key := range c.forgotten {
		if err := state.Delete(stateKey(stateProducer, key.stream, key.id)); err != nil {
			return fmt.Errorf("delete producer: %w", err)
		}
	}
	for key := range g.sequences {
		if err := state.Put(stateKey(stateProducer, key.stream, key.id), c.producers[key].append(nil)); err != nil {
			return fmt.Errorf("put producer: %w", err)
		}
	}
	for _, step := range g.places {
		if err := state.Put(step.key, step.value); err != nil {
			return fmt.Errorf("put place: %w", err)
		}
	}
	return nil
}

// write puts the packed blocks into the stream's bucket: append only, so pages are filled whole.
func (p *packer) write(tx *bolt.Tx) error {
	name := streamBucket(p.stream.name)
	bucket := tx.Bucket(name)
	if bucket == nil {
		var err error
		if bucket, err = tx.CreateBucket(name); err != nil {
			return fmt.Errorf("create stream %q: %w", p.stream.name, err)
		}
	}
	bucket.FillPercent = 1
	return p.each(func(first uint64, value []byte) error {
		if err := bucket.Put(offsetKey(first), value); err != nil {
			return fmt.Errorf("put block %d of %q: %w", first, p.stream.name, err)
		}
		return nil
	})
}

// collectPlaces encodes the places that have moved since they were last written.
func (g *group) collectPlaces(l *Log) {
	for _, p := range l.allPlaces() {
		if step, ok := p.step(); ok {
			g.places = append(g.places, step)
		}
	}
}

// step encodes the place if it has moved.
func (p *Place) step() (placeStep, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.dirty {
		return placeStep{}, false
	}
	p.dirty = false
	return placeStep{
		place: p,
		key:   stateKey(statePlace, p.stream.name, p.name),
		value: p.appendLocked(nil),
		low:   p.checkpointLocked(),
		state: p.state,
	}, true
}

// committed notes that the step is on disk.
func (s *placeStep) committed() {
	s.place.mu.Lock()
	s.place.low = s.low
	keeper := s.place.keeper
	s.place.mu.Unlock()
	if keeper != nil && s.state != nil {
		keeper(s.state)
	}
}

// failed makes the next checkpoint write the place again.
func (s *placeStep) failed() {
	s.place.mu.Lock()
	s.place.dirty = true
	s.place.mu.Unlock()
}
