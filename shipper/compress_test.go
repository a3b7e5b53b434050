package shipper_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/standpipe/standpipe/shipper"
)

// plain returns a record's bytes, or those of several that were joined, as its readers have them.
func plain(t *testing.T, c shipper.Compression, data []byte) []byte {
	t.Helper()
	var r io.Reader = bytes.NewReader(data)
	var err error
	switch c {
	case shipper.Gzip: // the standard library's: other code than what wrote it
		r, err = gzip.NewReader(r)
	case shipper.Zstd:
		var d *zstd.Decoder
		if d, err = zstd.NewReader(r); err == nil {
			defer d.Close()
			r = d
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// What nothing can compress still fits, and what was joined is one valid file.
func TestCompressedRecordsFitAndJoin(t *testing.T) {
	for _, c := range []shipper.Compression{shipper.Gzip, shipper.Zstd} {
		for _, noise := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				m := &meter{shape: wholeFirehose()}
				m.shape.Compression, m.shape.RecordEvents = c, 0
				var joined []byte
				m.taken = func(r shipper.Record) {
					if len(r.Data) > m.shape.MaxRecord {
						t.Errorf("a record of %d bytes, at most %d", len(r.Data), m.shape.MaxRecord)
					}
					joined = append(joined, r.Data...)
				}
				tr := traffic{size: 1000, keys: 50, noise: noise}
				st := tr.backlog(t, m, 20<<20)
				lines := bytes.Count(plain(t, c, joined), []byte("\n"))
				if uint64(lines) != st.Delivered.Events {
					t.Errorf("%s: %d lines in what was joined, want %d", c, lines, st.Delivered.Events)
				}
				t.Logf("%s, noise %v: billed %.3f of the payload, %d records", c, noise,
					float64(st.BilledBytes)/float64(st.Delivered.Bytes), st.Records)
			})
		}
	}
}

// Records are aimed at their size after compression, as far as they must fit without.
func TestCompressedRecordsHoldMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &meter{shape: wholeFirehose(), delay: time.Millisecond}
		m.shape.Compression, m.shape.RecordEvents, m.shape.AimRecord = shipper.Gzip, 0, 50<<10
		st := traffic{size: 1000, keys: 50}.backlog(t, m, 20<<20)
		if got := st.Delivered.Bytes / st.Records; got < 150<<10 {
			t.Errorf("%d bytes of payload a record, want three times the 50 KiB that are aimed at or more", got)
		}
	})
}
