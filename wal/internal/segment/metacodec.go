package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	bolt "go.etcd.io/bbolt"

	"github.com/standpipe/standpipe/wal/internal/boltpage"
)

// segmentVersion is the version of new segments. They have a digest from version 2 on, recent blocks from version 3 on, and small
// commits from version 4 on.
const segmentVersion, recentVersion = 4, 3

// The keys of a segment's meta bucket.
var (
	keyVersion = []byte("version")
	keyLog     = []byte("log")
	keySegment = []byte("segment")
	keyBase    = []byte("base")    // new streams begin after this offset
	KeySealed  = []byte("sealed")  // there is a later segment
	KeyGapped  = []byte("gapped")  // blocks lack events; AppendHeld
	keySum     = []byte("sum")     // metaValues.checksum; the state's entries have checksums too
	KeyMadeAt  = []byte("made_at") // an identityRecord
	KeyDigest  = []byte("digest")  // a digest.Record of the last commit, until the segment is sealed
)

var errMetaSum = errors.New("the checksum of the segment's metadata does not match")

// Meta is the decoded meta bucket of a segment.
type Meta struct {
	Log    string           // the log's id
	Base   uint64           // new streams begin after this offset
	Sealed bool             // there is a later segment
	Summed bool             // this bucket and the state's entries have checksums
	Gapped bool             // it was compacted: blocks lack events
	Held   map[string]Count // each stream's events after a compaction; nil: there was none, or by an older release
	MadeAt []byte           // an identityRecord; nil: an older release wrote the segment

	Digested bool // each commit stores a digest
	Recent   bool // blocks may be recent
}

// PutMeta fills the meta bucket of a new segment.
func PutMeta(tx *bolt.Tx, log string, seq, base uint64) error {
	meta, err := tx.CreateBucket(BucketMeta)
	if err != nil {
		return fmt.Errorf("create meta: %w", err)
	}
	v := metaValues{version: []byte{segmentVersion}, log: []byte(log), segment: NumberKey(seq), base: NumberKey(base)}
	return errors.Join(
		meta.Put(keyVersion, v.version),
		meta.Put(keyLog, v.log),
		meta.Put(keySegment, v.segment),
		meta.Put(keyBase, v.base),
		meta.Put(keySum, v.checksum()),
	)
}

// metaValues are the values of a meta bucket as they are stored.
type metaValues struct{ version, log, segment, base, sum, sealed, gapped, madeAt, digest []byte }

// load gets all values by their keys.
func (v *metaValues) load(get func(key []byte) ([]byte, error)) (err error) {
	for _, f := range []struct {
		key []byte
		to  *[]byte
	}{
		{keyVersion, &v.version}, {keyLog, &v.log}, {keySegment, &v.segment}, {keyBase, &v.base},
		{keySum, &v.sum}, {KeySealed, &v.sealed}, {KeyGapped, &v.gapped}, {KeyMadeAt, &v.madeAt}, {KeyDigest, &v.digest},
	} {
		if *f.to, err = get(f.key); err != nil {
			return err
		}
	}
	return nil
}

// checksum returns the CRC-32C of the log's id, the segment's number and the base.
func (v *metaValues) checksum() []byte {
	sum := crc32.Checksum(v.log, Castagnoli)
	sum = crc32.Update(sum, Castagnoli, v.segment)
	sum = crc32.Update(sum, Castagnoli, v.base)
	return binary.BigEndian.AppendUint32(nil, sum)
}

// sumFault checks the checksum. Segments of older releases have none.
func (v *metaValues) sumFault() error {
	if v.sum != nil && !bytes.Equal(v.sum, v.checksum()) {
		return errMetaSum
	}
	return nil
}

// decode decodes the values.
func (v *metaValues) decode() (m Meta, err error) {
	m = Meta{Log: string(v.log), Sealed: v.sealed != nil, Summed: v.sum != nil, Gapped: v.gapped != nil, MadeAt: bytes.Clone(v.madeAt), Digested: v.digest != nil, Recent: len(v.version) == 1 && v.version[0] >= recentVersion}
	if len(v.base) == 8 {
		m.Base = binary.BigEndian.Uint64(v.base)
	}
	m.Held, err = DecodeHeld(v.gapped)
	return m, err
}

// ReadMeta checks that the file is the segment seq of a log.
func ReadMeta(r Reader, path string, seq uint64) (Meta, error) {
	meta := r.Bucket(BucketMeta)
	if meta == nil {
		return Meta{}, &CorruptError{File: path, Reason: "no segment of a standpipe log: it has no meta bucket"}
	}
	var v metaValues
	_ = v.load(func(key []byte) ([]byte, error) { return ValueOf(meta, key), nil })
	switch {
	case segmentVersionFault(path, v.version) != nil:
		return Meta{}, segmentVersionFault(path, v.version)
	case !bytes.Equal(v.segment, NumberKey(seq)):
		return Meta{}, &CorruptError{File: path, Reason: fmt.Sprintf("its metadata is of segment %x", v.segment)}
	case len(v.base) != 8:
		return Meta{}, &CorruptError{File: path, Reason: "the streams' base is missing"}
	case v.sumFault() != nil:
		return Meta{}, &CorruptError{File: path, Reason: v.sumFault().Error()}
	}
	m, _ := v.decode() // the counts have a reader of their own
	return m, nil
}

// ReadPagesMeta is ReadMeta for tools. It does not compare the segment's number with the file's name: the checksums of
// the blocks and of the index cover the number, so that reading them detects a wrong name.
func ReadPagesMeta(s *boltpage.Snapshot, path string) (m Meta, err error) {
	t, err := s.Bucket(BucketMeta)
	if err != nil {
		return m, err
	}
	if t == nil {
		return m, s.Corrupt("no segment of a standpipe log: it has no meta bucket")
	}
	var v metaValues
	if err := v.load(func(key []byte) ([]byte, error) { return s.Value(BucketMeta, key) }); err != nil {
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

// segmentVersionFault checks the version in a segment's meta bucket. In a later release the version may be longer.
func segmentVersionFault(path string, stored []byte) error {
	if len(stored) == 1 && 0 < stored[0] && stored[0] <= segmentVersion {
		return nil
	}
	var got uint64
	if n := len(stored); 0 < n && n <= 8 {
		var b [8]byte
		copy(b[8-n:], stored)
		got = binary.BigEndian.Uint64(b[:])
	}
	if err := LaterVersion("segment", got, segmentVersion); err != nil {
		return InFile(path, err)
	}
	return InFile(path, errSegmentVersion)
}

var errSegmentVersion = errors.New("the segment's version is missing")

// gappedCounts is the version of the value of KeyGapped. After it comes each stream's count of events in the compacted
// segment. The index has the counts from before the compaction.
const gappedCounts = 2

// AppendHeld encodes the counts of a compacted segment.
func AppendHeld(held map[string]Count) []byte {
	b := []byte{gappedCounts}
	for _, stream := range SortedKeys(held) {
		b = appendCount(AppendText(b, stream), held[stream])
	}
	return b
}

// DecodeHeld decodes the result of AppendHeld. nil: the segment was not compacted, or an older release did it.
func DecodeHeld(b []byte) (held map[string]Count, err error) {
	if len(b) == 0 || b[0] != gappedCounts {
		return nil, nil
	}
	held = make(map[string]Count)
	d := Decoder{Rest: b[1:]}
	for len(d.Rest) > 0 && !d.Bad {
		stream := string(d.Text())
		held[stream] = d.count()
	}
	return held, d.err()
}
