package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
)

// Control sequences of a terminal. The alternate screen leaves the lines above the prompt as they are.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l" // the alternate screen, without a cursor
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	frameStart  = "\x1b[?2026h\x1b[H" // show nothing before frameEnd; from the top
	lineEnd     = "\x1b[K"            // remove the rest of the previous frame's line
	frameEnd    = "\x1b[J\x1b[?2026l"
)

// watch shows a status again and again.
type watch struct {
	out      io.Writer
	screen   func() cli.Screen // the size may change
	interval time.Duration
	fetch    func(ctx context.Context) (admin.Status, error)
	write    func(out io.Writer, s admin.Status, now time.Time, screen cli.Screen) error

	last   admin.Status // the last response
	lastAt time.Time    // zero: there was none
	away   time.Time    // since when the agent does not respond; zero: it responds
}

// run ends with ctx, or when the command line is invalid. An agent that does not respond is shown as such.
func (w *watch) run(ctx context.Context) (err error) {
	if w.screen().Terminal {
		if _, err := io.WriteString(w.out, enterScreen); err != nil {
			return err
		}
		defer func() {
			_, left := io.WriteString(w.out, leaveScreen)
			err = errors.Join(err, left)
		}()
	}
	ticker := time.NewTicker(w.interval)
	defer ticker.Stop()
	for {
		status, err := w.fetch(ctx)
		if exit := (*cli.ExitError)(nil); errors.As(err, &exit) {
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
		if err := w.draw(status, err, time.Now()); err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// draw writes one frame.
func (w *watch) draw(status admin.Status, fault error, now time.Time) error {
	screen := w.screen()
	head := &cli.Table{Columns: screen.Columns, Color: screen.Color}
	switch {
	case fault == nil:
		w.last, w.lastAt, w.away = status, now, time.Time{}
		head.Line("%s", head.Paint(cli.Dim, fmt.Sprintf("%s, every %s; Ctrl-C ends", now.Format("15:04:05"), admin.Age(w.interval))))
	case w.away.IsZero():
		w.away = now
		fallthrough
	default:
		head.Mark(cli.Bad, "away   ", fmt.Sprintf("%v, for %s", fault, admin.Age(now.Sub(w.away))))
		if !w.lastAt.IsZero() {
			head.Note("       ", fmt.Sprintf("the status below is %s old", admin.Age(now.Sub(w.lastAt))))
		}
	}
	var frame bytes.Buffer
	frame.WriteString(head.String())
	if !w.lastAt.IsZero() {
		if err := w.write(&frame, w.last, now, screen); err != nil {
			return err
		}
	}
	if !screen.Terminal {
		frame.WriteString("\n")
		_, err := w.out.Write(frame.Bytes())
		return err
	}
	_, err := io.WriteString(w.out, frameStart+strings.Join(fit(frame.String(), screen.Rows), lineEnd+"\r\n")+lineEnd+frameEnd)
	return err
}

// fit returns the lines of a text that a terminal of that many rows shows without scrolling.
func fit(text string, rows int) []string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if rows <= 0 || len(lines) <= rows {
		return lines
	}
	missing := len(lines) - rows + 1
	return append(lines[:rows-1], fmt.Sprintf("%s more; see standpipe top", cli.Number(missing, "line")))
}
