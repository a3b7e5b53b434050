package segfile_test

import (
	"bytes"
	"errors"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/wal/internal/segfile"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// A segment that cannot be read is logged when the problem begins and when it ends. Only an I/O error counts as damage
// after a while.
func TestReadPatience_IsForTheDiskAlone(t *testing.T) {
	for name, cause := range map[string]error{"I/O": &segment.ReadError{File: "f", Part: "page 3", Err: syscall.EIO}, "descriptors": syscall.EMFILE, "memory": syscall.ENOMEM} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var logged bytes.Buffer
				seg := segfile.New("", 1, &segfile.Files{}, hclog.New(&hclog.LoggerOptions{Output: &logged}))
				for range int(segfile.ReadPatience/time.Second) - 1 {
					if err := seg.Overdue(segfile.ReadPatience, "s", 7, cause); !errors.Is(err, cause) {
						t.Fatalf("got %v, want %v", err, cause)
					}
					time.Sleep(time.Second)
				}
				time.Sleep(segfile.ReadPatience)
				if got, want := segment.Damaged(seg.Overdue(segfile.ReadPatience, "s", 7, cause)), name == "I/O"; got != want {
					t.Errorf("got damage %v after %s, want %v", got, 2*segfile.ReadPatience, want)
				}
				if err := seg.Overdue(segfile.ReadPatience, "s", 8, nil); err != nil {
					t.Error(err)
				}
				if warned, over := strings.Count(logged.String(), "[WARN]"), strings.Count(logged.String(), "can be read again"); warned != 1 || over != 1 {
					t.Errorf("got %q, want a line when it begins and one when it ends", &logged)
				}
			})
		})
	}
}
