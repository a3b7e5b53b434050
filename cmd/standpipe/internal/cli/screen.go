package cli

import (
	"io"
	"os"

	"golang.org/x/term"
)

// minColumns is the narrowest terminal that tables are made for.
const minColumns = 40

// Screen is the terminal that a command writes to. The zero value is a file or a pipe.
type Screen struct {
	Terminal      bool
	Columns, Rows int // 0: unknown
	Color         bool
}

// ScreenOf returns the screen behind out. The environment variable NO_COLOR (no-color.org) and a dumb TERM turn colors off.
func ScreenOf(out io.Writer) Screen {
	file, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return Screen{}
	}
	s := Screen{Terminal: true, Color: os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && sequences(file)}
	if columns, rows, err := term.GetSize(int(file.Fd())); err == nil && columns > 0 {
		s.Columns, s.Rows = max(columns, minColumns), rows
	}
	return s
}
