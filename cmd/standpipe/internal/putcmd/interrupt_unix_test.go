//go:build unix

package putcmd_test

import (
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/standpipe/standpipe/test/testkit"
)

// An interrupted run reports the lines that are stored, and stores no others.
func TestPut_InterruptedReportsStoredLines(t *testing.T) {
	p := startPutTarget(t, 16<<20)
	in, input := io.Pipe()
	defer input.Close()
	go func() {
		io.WriteString(input, "a\nb\nc\n")
		testkit.Eventually(t, 20*time.Second, func() error {
			if p.log.Next("text") != 4 {
				return os.ErrDeadlineExceeded
			}
			return nil
		})
		syscall.Kill(os.Getpid(), syscall.SIGINT)
	}()
	out, err := p.put(t, in, "text")
	if out != "stored 3 events\n" || err == nil || !strings.Contains(err.Error(), "interrupted: the lines up to 3 are stored") {
		t.Errorf("got %q, %v", out, err)
	}
	p.expect(t, "text", "text a", "text b", "text c")
}
