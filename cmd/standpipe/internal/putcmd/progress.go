package putcmd

import (
	"fmt"
	"io"
	"time"

	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
)

// showEvery is the time between two lines of progress.
const showEvery = 250 * time.Millisecond

// meter shows the progress on a terminal. The zero value shows nothing.
type meter struct {
	out   io.Writer // nil: no terminal
	size  int64     // of the input in bytes; 0: unknown
	bytes int64     // stored
	shown time.Time
	began time.Time
}

// note counts a stored batch.
func (m *meter) note(b *batch, stored uint64) {
	if m.out == nil {
		return
	}
	m.bytes += b.input
	now := time.Now()
	if m.began.IsZero() {
		m.began = now
	}
	if now.Sub(m.shown) < showEvery {
		return
	}
	m.shown = now
	share := ""
	if m.size > 0 {
		share = fmt.Sprintf(", %d %%", min(100*m.bytes/m.size, 100))
	}
	rate := ""
	if s := now.Sub(m.began).Seconds(); s >= 1 {
		rate = fmt.Sprintf(", %.1f MiB/s", float64(m.bytes)/s/(1<<20))
	}
	fmt.Fprintf(m.out, "\r\x1b[Kstored %s up to line %d%s%s", cli.Number(stored, "event"), b.lines[len(b.lines)-1], share, rate)
}

// clear removes the line of progress.
func (m *meter) clear() {
	if m.out != nil && !m.shown.IsZero() {
		fmt.Fprint(m.out, "\r\x1b[K")
	}
}
