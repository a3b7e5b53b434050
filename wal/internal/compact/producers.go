package compact

import (
	"sync/atomic"

	"github.com/standpipe/standpipe/wal/internal/boltcopy"
	"github.com/standpipe/standpipe/wal/internal/producer"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// includeNotes adds the numbered batches of the segment's blocks to the producers' entries in the chunk. The copy has no
// notes of them, and a log whose newest segments are lost continues with the state of the copy. The entries become at most
// twice as long.
func (c *Copier) includeNotes(chunk *boltcopy.Chunk) error {
	var bytes atomic.Int64
	set, seq := producer.NewSet(&bytes, 0, nil), c.Segment.Seq
	var m segment.Meta
	err := c.Segment.View(func(r segment.Reader) (err error) {
		m, err = segment.ReadMeta(r, c.Segment.Path, seq)
		return err
	})
	if err == nil {
		err = chunk.Replace(func(k, v []byte) ([]byte, error) {
			key, ok := producerOf(k)
			if !ok {
				return v, nil
			}
			entry, err := segment.StateValue(k, v, m.Summed)
			if err == nil {
				err = set.Load(seq, key, entry)
			}
			return v, err
		})
	}
	if err != nil {
		return ErrKept // its readers report the damage
	}
	if set.Len() == 0 {
		return nil
	}
	set.Count()
	before := bytes.Load()
	err = c.eachChunk(segment.BucketBlocks, func(k, v []byte, _ *boltcopy.Chunk) error {
		b, fault := segment.PeekBlock(seq, k, v)
		if fault != "" {
			return ErrKept
		}
		_ = b.EachNote(func(n *segment.Note) { set.Replay(seq, b.Stream, n, b.Number, b.At()) }) // damaged notes are lost
		return nil
	}, nil)
	if err != nil {
		return err
	}
	set.Count()
	set.Trim(2 * before)
	return chunk.Replace(func(k, v []byte) ([]byte, error) {
		if key, ok := producerOf(k); ok {
			return segment.SumStateValue(k, set.Entry(key), m.Summed), nil
		}
		return v, nil
	})
}

// producerOf returns the producer that an entry of the state belongs to.
func producerOf(k []byte) (key producer.Key, ok bool) {
	kind, names, ok := segment.SplitStateKey(k)
	if !ok || kind != segment.StateProducer || len(names) != 2 {
		return producer.Key{}, false
	}
	return producer.Key{ID: names[1], Stream: names[0]}, true
}
