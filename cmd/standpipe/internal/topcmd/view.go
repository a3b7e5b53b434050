package topcmd

import (
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/gdamore/tcell/v2"
	"github.com/rivo/tview"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
)

const (
	stateOrder    = 1 // of orders: the rows that need an operator stand at the top
	shownProblems = 2 // groups of problems in the head
	detailLines   = 2
)

// view is the screen: a head with the agent and its problems, a table, the selected row's details, and the keys. Its fields
// belong to the goroutine of the application.
type view struct {
	app          *tview.Application
	root         *tview.Flex
	head, detail *tview.TextView
	keys         *tview.TextView
	table        *tview.Table

	selection selection
	typing    bool // runes go to the filter
	status    admin.Status
	at        time.Time // of the status; zero: there was none
	now       time.Time // of the last update
	fault     error     // of the last update; nil: the agent responded
	rows      []row
}

func newView() *view {
	v := &view{
		app: tview.NewApplication(), root: tview.NewFlex().SetDirection(tview.FlexRow),
		head: text(), detail: text().SetWordWrap(true), keys: text(), table: tview.NewTable(), selection: selection{order: stateOrder},
	}
	v.table.SetContent(&content{view: v}).SetFixed(1, 0).SetSelectable(true, false).SetSelectedStyle(tcell.StyleDefault.Reverse(true))
	v.table.SetBackgroundColor(tcell.ColorDefault)
	v.table.SetSelectionChangedFunc(func(int, int) { v.drawDetail() })
	v.root.AddItem(v.head, 1, 0, false).AddItem(v.table, 0, 1, true).AddItem(v.detail, detailLines, 0, false).AddItem(v.keys, 1, 0, false)
	v.app.SetRoot(v.root, true).SetFocus(v.table).SetInputCapture(v.key)
	v.draw()
	return v
}

// text makes a text with color tags in the colors of the terminal.
func text() *tview.TextView {
	t := tview.NewTextView().SetDynamicColors(true).SetWrap(false)
	t.SetTextColor(tcell.ColorDefault).SetBackgroundColor(tcell.ColorDefault)
	return t
}

// update shows a new status, or that the agent does not respond.
func (v *view) update(s admin.Status, fault error, now time.Time) {
	v.now, v.fault = now, fault
	if fault == nil {
		v.status, v.at = s, now
	}
	v.draw()
}

// draw fills all parts. The selected row stays selected when it moves, but for the first one.
func (v *view) draw() {
	selected, _ := v.table.GetSelection()
	var place admin.Place
	if selected > 1 && selected <= len(v.rows) {
		place = v.rows[selected-1].place
	}
	v.rows = v.selection.rows(&v.status)
	at := 1
	for i := range v.rows {
		if v.rows[i].place == place {
			at = i + 1
		}
	}
	v.table.Select(at, 0)
	head := v.headText()
	v.head.SetText(strings.Join(head, "\n"))
	v.root.ResizeItem(v.head, len(head), 0)
	v.drawDetail()
	v.keys.SetText(v.keysText())
}

// headText returns the lines about the agent as a whole.
func (v *view) headText() (lines []string) {
	if v.fault != nil {
		lines = append(lines, "[red::b]"+clean(v.fault.Error())+"[-::-]")
	}
	if v.at.IsZero() {
		return append(lines, "waiting for the agent")
	}
	s := &v.status
	if v.fault != nil {
		lines = append(lines, fmt.Sprintf("The figures are %s old.", admin.Age(v.now.Sub(v.at))))
	}
	accepting := "[green]events are accepted[-]"
	if !s.Accepting.OK {
		accepting = fmt.Sprintf("[red::b]events are not accepted: %s, for %s[-::-]", clean(s.Accepting.Reason), admin.Age(v.now.Sub(s.Accepting.Since.Time)))
	}
	full := ""
	if s.WAL.UntilFullSeconds > 0 {
		full = ", full in about " + admin.Age(seconds(s.WAL.UntilFullSeconds))
	}
	flow := admin.Sum(s.Streams)
	lines = append(lines,
		fmt.Sprintf("[::b]%s[::-] %s for %s, %s", clean(s.Agent.NodeName), clean(s.Agent.State), admin.Age(v.now.Sub(s.Agent.StartedAt.Time)), accepting),
		fmt.Sprintf("in %s, out %s, wal %s of %s (%d %%)%s", flow.In, flow.Out, humanize.IBytes(uint64(max(s.WAL.Bytes, 0))),
			humanize.IBytes(uint64(max(s.WAL.MaxBytes, 0))), s.WAL.Percent(), full),
		flow.PendingText())
	groups := s.ProblemGroups()
	for _, g := range groups[:min(len(groups), shownProblems)] {
		color := "yellow"
		if g.Severity == admin.Critical {
			color = "red"
		}
		lines = append(lines, fmt.Sprintf("[%s]%s[-]", color, clean(g.Summary())))
	}
	if more := len(groups) - shownProblems; more > 0 {
		lines = append(lines, fmt.Sprintf("and %s", cli.Number(more, "other problem")))
	}
	return lines
}

// drawDetail describes the selected row.
func (v *view) drawDetail() {
	selected, _ := v.table.GetSelection()
	if selected < 1 || selected > len(v.rows) {
		v.detail.SetText("")
		return
	}
	r := &v.rows[selected-1]
	detail := "[::b]" + clean(r.place.Stream)
	if r.place.Destination != "" {
		detail += " to " + clean(r.kind+" "+r.place.Destination)
	}
	detail += "[::-]"
	if r.fault != "" {
		detail += ": " + clean(r.fault)
	}
	if ahead := r.retryAt.Sub(v.now); !r.retryAt.IsZero() && ahead > 0 {
		detail += "; retry in " + admin.Age(ahead)
	}
	v.detail.SetText(detail)
}

func (v *view) keysText() string {
	if v.typing {
		return "filter: " + clean(v.selection.filter) + "_  [::d]Enter keeps it, Esc clears it[::-]"
	}
	rows, problems := "streams", "x problems"
	if v.selection.streams {
		rows = "destinations"
	}
	if v.selection.problems {
		problems = "x all"
	}
	filter := "/ filter"
	if v.selection.filter != "" {
		filter = "/ filter: " + clean(v.selection.filter)
	}
	return fmt.Sprintf("[::d]s t i o p a f sort  %s  Tab %s  ↑↓ PgDn scroll  q quit  %s[::-]", problems, rows, filter)
}

// clean makes a foreign text fit for a text with color tags.
func clean(s string) string { return tview.Escape(cli.Printable(s)) }

// key handles a key press, or returns it for the table.
func (v *view) key(event *tcell.EventKey) *tcell.EventKey {
	if event.Key() == tcell.KeyCtrlC {
		return event // ends the application
	}
	if v.typing {
		v.typed(event)
		v.draw()
		return nil
	}
	switch {
	case event.Key() == tcell.KeyTab:
		v.selection.streams = !v.selection.streams
	case event.Key() == tcell.KeyEsc:
		v.selection.filter = ""
	case event.Key() == tcell.KeyRune && event.Rune() == 'q':
		v.app.Stop()
	case event.Key() == tcell.KeyRune && event.Rune() == '/':
		v.typing = true
	case event.Key() == tcell.KeyRune && event.Rune() == 'x':
		v.selection.problems = !v.selection.problems
	case event.Key() == tcell.KeyRune && v.selection.sortBy(event.Rune()):
	default:
		return event
	}
	v.draw()
	return nil
}

// typed edits the filter.
func (v *view) typed(event *tcell.EventKey) {
	filter := []rune(v.selection.filter)
	switch event.Key() {
	case tcell.KeyRune:
		v.selection.filter += string(event.Rune())
	case tcell.KeyBackspace, tcell.KeyBackspace2:
		v.selection.filter = string(filter[:max(len(filter)-1, 0)])
	case tcell.KeyEnter:
		v.typing = false
	case tcell.KeyEsc:
		v.typing, v.selection.filter = false, ""
	}
}

// sortBy sorts by the column of the key, the second time in reverse. It reports false if no column has the key.
func (c *selection) sortBy(key rune) bool {
	for i, o := range orders {
		if o.key == key {
			c.reverse = c.order == i && !c.reverse
			c.order = i
			return true
		}
	}
	return false
}

// content is the table's cells, which are made when they are drawn.
type content struct {
	tview.TableContentReadOnly
	view *view
}

// columns are the titles. The names share the room that is left.
var columns = []string{"stream", "destination", "state", "in/s", "out/s", "pending", "oldest", "full in"}

// figureWidth is the width of a state or a figure.
const figureWidth = 7

// names is the number of columns with names, which are aligned to the left as the state is.
const names = 2

// GetRowCount implements tview.TableContent.
func (c *content) GetRowCount() int { return len(c.view.rows) + 1 }

// GetColumnCount implements tview.TableContent.
func (c *content) GetColumnCount() int { return len(columns) }

// GetCell implements tview.TableContent.
func (c *content) GetCell(line, column int) *tview.TableCell {
	if line < 0 || line > len(c.view.rows) || column < 0 || column >= len(columns) {
		return nil
	}
	cell := tview.NewTableCell("").SetTextColor(tcell.ColorDefault).SetBackgroundColor(tcell.ColorDefault)
	if column > names {
		cell.SetAlign(tview.AlignRight)
	}
	if column < names {
		cell.SetMaxWidth(c.view.nameWidth()).SetExpansion(1)
	}
	if line == 0 {
		return cell.SetText(padded(c.title(column), column)).SetAttributes(tcell.AttrBold).SetSelectable(false)
	}
	r := &c.view.rows[line-1]
	if column == names {
		cell.SetTextColor(colorOf(cli.StateStyle(r.state)))
	}
	return cell.SetText(clean(padded(r.texts()[column], column)))
}

// padded gives figures a fixed width, so that columns do not move.
func padded(text string, column int) string {
	if column < names {
		return text
	}
	return fmt.Sprintf("%*s", figureWidth, text)
}

// otherColumns is the room of the columns without names, with the blanks between columns.
const otherColumns = (8-names)*(figureWidth+1) + names - 1

// nameWidth returns the room of a name.
func (v *view) nameWidth() int {
	_, _, width, _ := v.table.GetInnerRect()
	return max((width-otherColumns)/names, 8)
}

// title returns a column's title, with a mark if the rows are sorted by it.
func (c *content) title(column int) string {
	o := orders[c.view.selection.order]
	switch {
	case columns[column] != o.title:
		return columns[column]
	case c.view.selection.reverse:
		return o.title + "▲"
	}
	return o.title + "▼"
}

// texts returns the row's cells.
func (r *row) texts() [8]string {
	oldest, full := "-", "-"
	if r.pending > 0 {
		oldest = admin.Age(r.oldest)
	}
	if r.full > 0 {
		full = admin.Age(r.full)
	}
	return [8]string{r.place.Stream, r.place.Destination, string(r.state), cli.PerSecond(r.in), cli.PerSecond(r.out), cli.Short(r.pending, 7), oldest, full}
}

// colorOf returns the color of a style. The text of others has the color of the terminal.
func colorOf(s cli.Style) tcell.Color {
	switch s {
	case cli.Good:
		return tcell.ColorGreen
	case cli.Warn:
		return tcell.ColorYellow
	case cli.Bad:
		return tcell.ColorRed
	}
	return tcell.ColorDefault
}
