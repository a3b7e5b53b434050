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

// plain returns the decompressed bytes of a record, or of several joined records, as a consumer gets them.
func plain(t *testing.T, c shipper.Compression, data []byte) []byte {
	t.Helper()
	var r io.Reader = bytes.NewReader(data)
	var err error
	switch c {
	case shipper.Gzip: // decompressed with the standard library, which did not write it
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

// Incompressible events still fit, and joined records are one valid file.
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

// AimRecord is the expected compressed size of a record, so compressed records hold more events. They stay within the
// size that fits if a record does not shrink.
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
