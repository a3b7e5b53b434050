package reader

import (
	"github.com/standpipe/standpipe/wal/internal/cursor"
	"github.com/standpipe/standpipe/wal/internal/segfile"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// Await finds the lanes of the run's events. Events that the log no longer holds are settled.
func (rd *Reader) Await(stream string, run segment.Run) (*cursor.Await, error) {
	w := &cursor.Await{Run: run}
	for from := run.First; from < run.Next; {
		seg, sp := rd.Segments.Find(stream, from)
		if seg == nil || sp.First >= run.Next {
			w.Gone = true
			break
		}
		w.Gone = w.Gone || sp.First > from || rd.Segments.Gapped(seg)
		part := segment.Run{First: max(from, sp.First), Next: min(run.Next, sp.Next)}
		replaced := seg.Replaced()
		err := seg.Walk(stream, part.First, part.Next, func(_ segment.BlockPlace, b segment.Block, fault string) (bool, error) {
			return false, w.AddBlock(&b, part, fault)
		})
		if seg.Replaced() != replaced {
			continue
		}
		if segment.Damaged(err) { // the readers of the segment give up its events
			w.Gone, err = true, nil
		}
		if err != nil && err != segfile.ErrGone { //nolint:errorlint
			return nil, err
		}
		w.Gone = w.Gone || err != nil
		from = part.Next
	}
	return w, nil
}
