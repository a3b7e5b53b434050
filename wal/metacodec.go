package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal/internal/boltpage"
)

const segmentVersion = 1

// The keys of a segment's meta bucket.
var (
	keyVersion = []byte("version")
	keyLog     = []byte("log")
	keySegment = []byte("segment")
	keyBase    = []byte("base")    // new streams begin after this offset
	keySealed  = []byte("sealed")  // there is a later segment
	keyGapped  = []byte("gapped")  // blocks lack events; appendHeld
	keySum     = []byte("sum")     // metaValues.checksum; the state's entries have checksums too
	keyMadeAt  = []byte("made_at") // an identityRecord
)

var errMetaSum = errors.New("the checksum of what the segment says of itself does not match")

// segmentMeta is what a segment's meta bucket tells.
type segmentMeta struct {
	log    string           // the log's id
	base   uint64           // new streams begin after this offset
	sealed bool             // there is a later segment
	summed bool             // it has checksums, and so have the state's entries
	gapped bool             // it was compacted: blocks lack events
	held   map[string]Count // of each stream, if it was compacted; nil: an older release did that
	madeAt []byte           // an identityRecord; nil: an older release's
}

// putMeta fills the meta bucket of a new segment.
func putMeta(tx *bolt.Tx, log string, seq, base uint64) error {
	meta, err := tx.CreateBucket(bucketMeta)
	if err != nil {
		return fmt.Errorf("create meta: %w", err)
	}
	v := metaValues{version: []byte{segmentVersion}, log: []byte(log), segment: numberKey(seq), base: numberKey(base)}
	return errors.Join(
		meta.Put(keyVersion, v.version),
		meta.Put(keyLog, v.log),
		meta.Put(keySegment, v.segment),
		meta.Put(keyBase, v.base),
		meta.Put(keySum, v.checksum()),
	)
}

// metaValues are the values of a meta bucket as they are stored.
type metaValues struct{ version, log, segment, base, sum, sealed, gapped, madeAt []byte }

// load gets all values by their keys.
func (v *metaValues) load(get func(key []byte) ([]byte, error)) (err error) {
	for _, f := range []struct {
		key []byte
		to  *[]byte
	}{
		{keyVersion, &v.version}, {keyLog, &v.log}, {keySegment, &v.segment}, {keyBase, &v.base},
		{keySum, &v.sum}, {keySealed, &v.sealed}, {keyGapped, &v.gapped}, {keyMadeAt, &v.madeAt},
	} {
		if *f.to, err = get(f.key); err != nil {
			return err
		}
	}
	return nil
}

// checksum returns the CRC-32C of the log's id, the segment's number and the base.
func (v *metaValues) checksum() []byte {
	sum := crc32.Checksum(v.log, castagnoli)
	sum = crc32.Update(sum, castagnoli, v.segment)
	sum = crc32.Update(sum, castagnoli, v.base)
	return binary.BigEndian.AppendUint32(nil, sum)
}

// sumFault checks the checksum. Segments of older releases have none.
func (v *metaValues) sumFault() error {
	if v.sum != nil && !bytes.Equal(v.sum, v.checksum()) {
		return errMetaSum
	}
	return nil
}

// decode returns the values' meaning.
func (v *metaValues) decode() (m segmentMeta, err error) {
	m = segmentMeta{log: string(v.log), sealed: v.sealed != nil, summed: v.sum != nil, gapped: v.gapped != nil, madeAt: bytes.Clone(v.madeAt)}
	if len(v.base) == 8 {
		m.base = binary.BigEndian.Uint64(v.base)
	}
	m.held, err = decodeHeld(v.gapped)
	return m, err
}

// readMeta checks that the file is the segment seq of a log.
func readMeta(r reader, path string, seq uint64) (segmentMeta, error) {
	meta := r.bucket(bucketMeta)
	if meta == nil {
		return segmentMeta{}, &CorruptError{File: path, Reason: "no segment of a standpipe log: it has no meta bucket"}
	}
	var v metaValues
	_ = v.load(func(key []byte) ([]byte, error) { return valueOf(meta, key), nil })
	switch {
	case segmentVersionFault(path, v.version) != nil:
		return segmentMeta{}, segmentVersionFault(path, v.version)
	case !bytes.Equal(v.segment, numberKey(seq)):
		return segmentMeta{}, &CorruptError{File: path, Reason: fmt.Sprintf("it says that it is segment %x", v.segment)}
	case len(v.base) != 8:
		return segmentMeta{}, &CorruptError{File: path, Reason: "the streams' base is missing"}
	case v.sumFault() != nil:
		return segmentMeta{}, &CorruptError{File: path, Reason: v.sumFault().Error()}
	}
	m, _ := v.decode() // the counts have a reader of their own
	return m, nil
}

// readPagesMeta is readMeta for tools, which find out by what they read next whether the file is the segment that its
// name tells.
func readPagesMeta(s *boltpage.Snapshot, path string) (m segmentMeta, err error) {
	t, err := s.Bucket(bucketMeta)
	if err != nil {
		return m, err
	}
	if t == nil {
		return m, s.Corrupt("no segment of a standpipe log: it has no meta bucket")
	}
	var v metaValues
	if err := v.load(func(key []byte) ([]byte, error) { return s.Value(bucketMeta, key) }); err != nil {
		return m, err
	}
	if err := segmentVersionFault(path, v.version); err != nil {
		return m, err
	}
	if err := v.sumFault(); err != nil {
		return m, s.Corrupt("%v", err)
	}
	if m, err = v.decode(); err != nil {
		return m, s.Corrupt("the counts of a segment that was rewritten: %v", err)
	}
	return m, nil
}

// segmentVersionFault checks the version that a segment's meta bucket has. It may be longer in a later release.
func segmentVersionFault(path string, stored []byte) error {
	if len(stored) == 1 && stored[0] == segmentVersion {
		return nil
	}
	var got uint64
	if n := len(stored); 0 < n && n <= 8 {
		var b [8]byte
		copy(b[8-n:], stored)
		got = binary.BigEndian.Uint64(b[:])
	}
	if err := laterVersion("segment", got, segmentVersion); err != nil {
		return inFile(path, err)
	}
	return inFile(path, errSegmentVersion)
}

var errSegmentVersion = errors.New("the segment's version is missing")

// gappedCounts is the version of the value of keyGapped: each stream's count of events in the compacted segment follows.
// The index has the counts from before the compaction.
const gappedCounts = 2

func appendHeld(held map[string]Count) []byte {
	b := []byte{gappedCounts}
	for _, stream := range sortedKeys(held) {
		b = appendCount(appendText(b, stream), held[stream])
	}
	return b
}

// decodeHeld decodes the value of appendHeld. nil: the segment was not compacted, or an older release did it.
func decodeHeld(b []byte) (held map[string]Count, err error) {
	if len(b) == 0 || b[0] != gappedCounts {
		return nil, nil
	}
	held = make(map[string]Count)
	d := decoder{b: b[1:]}
	for len(d.b) > 0 && !d.bad {
		stream := string(d.text())
		held[stream] = d.count()
	}
	return held, d.err()
}
