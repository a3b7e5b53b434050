package diskwatch

import (
	"errors"
	"testing"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/wal"
)

func TestMinFree_RejectsBelowAndAcceptsAgainAMarginAbove(t *testing.T) {
	for name, m := range map[string]config.MinFree{"a size": {Bytes: 100}, "a share": {Share: 0.1}} {
		var s space
		for _, step := range []struct {
			free int64
			low  bool
		}{{100, false}, {99, true}, {100, true}, {104, true}, {105, false}, {100, false}, {0, true}} {
			s.update(wal.Volume{Free: step.free, Size: 1000}, m)
			err := s.rejection()
			if (err != nil) != step.low || step.low && !errors.Is(err, wal.ErrFull) {
				t.Errorf("%s, %d bytes free: got %v, want a rejection: %v", name, step.free, err, step.low)
			}
		}
		s.update(wal.Volume{Size: 1000}, config.MinFree{})
		if err := s.rejection(); err != nil {
			t.Errorf("%s: got %v without min_free", name, err)
		}
	}
}
