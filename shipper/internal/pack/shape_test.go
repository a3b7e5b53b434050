package pack_test

import (
	"strings"
	"testing"

	"github.com/standpipe/standpipe/shipper/internal/pack"
	"github.com/standpipe/standpipe/shipper/kpl"
	"github.com/standpipe/standpipe/wal"
)

// An event that begins like an aggregated record is wrapped even if it is alone in its record.
func TestRoom_CountsTheWrappingOfMagic(t *testing.T) {
	shape := pack.Shape{Framing: pack.FramingKPL, OneKey: true, KeyCounts: true, MaxRecord: 64 << 10}
	for _, keyLen := range []int{1, 127, 128, 256} {
		e := wal.Event{Key: strings.Repeat("k", keyLen)}
		for _, begin := range []string{"plain", kpl.Magic} {
			data := append([]byte(begin), make([]byte, shape.MaxRecord)...)
			for n := shape.MaxRecord - 400; n <= shape.MaxRecord; n++ {
				e.Data = data[:n]
				framed := len(kpl.Append(nil, []kpl.Group{{Key: e.Key, Payloads: [][]byte{e.Data}}})) + keyLen
				if fits, room := framed <= shape.MaxRecord, shape.Room(&e); fits != (n <= room) {
					t.Fatalf("%q, key of %d bytes: %d bytes make a record of %d of %d, the room is %d", begin, keyLen, n, framed, shape.MaxRecord, room)
				}
			}
		}
	}
}
