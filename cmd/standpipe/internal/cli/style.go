package cli

import "github.com/standpipe/standpipe/agent/admin"

// Style is the look of a piece of text on a terminal with colors: a parameter of the control sequence SGR.
type Style string

// The styles.
const (
	Plain Style = ""
	Bold  Style = "1"
	Dim   Style = "2"
	Bad   Style = "1;31" // needs an operator
	Warn  Style = "33"
	Good  Style = "32"
)

// StateStyle returns the style of a destination's state.
func StateStyle(s admin.State) Style {
	switch s {
	case admin.Running:
		return Good
	case admin.Waiting:
		return Warn
	case admin.Blocked:
		return Bad
	}
	return Dim
}

// Paint returns text in a style, or as it is without colors. Its width must be final: terminals do not count the sequences,
// but the verbs of package fmt do.
func (t *Table) Paint(style Style, text string) string {
	if !t.Color || style == Plain || text == "" {
		return text
	}
	return "\x1b[" + string(style) + "m" + text + "\x1b[0m"
}
