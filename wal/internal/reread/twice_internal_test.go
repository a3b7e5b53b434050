package reread

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// For any sequence of errors: only content that was wrong twice is damage, a successful read is accepted, and a
// persistent I/O error is returned.
func TestTwice_BelievesDamageOnlyTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wrong, failing := &segment.CorruptError{Reason: "wrong"}, &segment.ReadError{Err: syscall.EIO}
		outcomes := []error{nil, wrong, failing, &segment.VersionError{}, fs.ErrPermission}
		seed := draw.Seed(t)
		r := rand.New(rand.NewPCG(seed, 1))
		for range 500 {
			var results []error
			err := Twice(context.Background(), func() error {
				results = append(results, outcomes[r.IntN(len(outcomes))])
				return results[len(results)-1]
			})
			bad, failed := 0, 0
			for _, e := range results {
				if segment.Damaged(e) || segment.Later(e) {
					bad++
				}
				if segment.Unread(e) {
					failed++
				}
			}
			last := results[len(results)-1]
			switch {
			case !errors.Is(err, last) || err == nil && last != nil:
				t.Fatalf("got %v after %v", err, results)
			case (segment.Damaged(err) || segment.Later(err)) && bad != 2, segment.Unread(err) && failed != len(readPauses)+1, bad > 2:
				t.Fatalf("got %v after %v", err, results)
			}
		}
	})
}
