package deadcmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
)

// New returns the command.
func New() *cobra.Command {
	c := &cobra.Command{
		Use:   "dead",
		Short: "List, show, requeue or drop the events that a destination rejected",
		Long: "A dead letter is an event that a destination rejected for good. The agent stores the event and the\n" +
			"reason in its own file and delivers the events after it. These commands need a running agent.",
	}
	c.AddCommand(newList(), newShow(), newRequeue(), newDrop())
	return c
}

// flags are the flags of all dead commands.
type flags struct {
	cli.DialFlags
	stream, destination string
	all, yes            bool
}

func (f *flags) connect() (*client, error) {
	a, err := f.Admin()
	return &client{a}, err
}

func (f *flags) addFilter(c *cobra.Command) {
	c.Flags().StringVar(&f.stream, "stream", "", "the dead letters of this `stream`")
	c.Flags().StringVar(&f.destination, "destination", "", "the dead letters of this `destination`")
	_ = c.RegisterFlagCompletionFunc("stream", cli.Streams) // an error is a second registration
	_ = c.RegisterFlagCompletionFunc("destination", cli.Destinations)
}

func newList() *cobra.Command {
	var f flags
	var limit int
	var asJSON bool
	c := &cobra.Command{
		Use:   "ls",
		Short: "List the dead letters",
		Long:  "List the dead letters, the oldest first. With --json it is one JSON object a line.",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if limit < 0 {
				return &cli.ExitError{Code: cli.ExitUsage, Err: fmt.Errorf("--limit %d: want 0 or more", limit)}
			}
			write := newTable(c.OutOrStdout()).letter
			if asJSON {
				encoder := json.NewEncoder(c.OutOrStdout())
				write = func(letter admin.DeadStat) error { return encoder.Encode(letter) }
			}
			return f.list(c.Context(), c.ErrOrStderr(), limit, write)
		},
	}
	f.Flags(c, "admin", cli.DefaultAdminAddress)
	f.addFilter(c)
	c.Flags().IntVar(&limit, "limit", 0, "list at most this many; 0: all")
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON object for each")
	return c
}

func (f *flags) list(ctx context.Context, notes io.Writer, limit int, write func(admin.DeadStat) error) error {
	client, err := f.connect()
	if err != nil {
		return err
	}
	defer client.Close()
	n := 0
	err = client.each(ctx, f.stream, f.destination, limit, func(letter admin.DeadStat) error {
		n++
		return write(letter)
	})
	if err == nil && n == 0 {
		fmt.Fprintln(notes, "no dead letters")
	}
	return err
}

func newShow() *cobra.Command {
	var f flags
	c := &cobra.Command{
		Use:   "show ID",
		Short: "Print a dead letter's data, and its other fields on standard error",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			ids, err := readIDs(args)
			if err != nil {
				return err
			}
			client, err := f.connect()
			if err != nil {
				return err
			}
			defer client.Close()
			letter, err := client.show(c.Context(), ids[0])
			if err != nil {
				return err
			}
			writeFacts(c.ErrOrStderr(), &letter)
			_, err = c.OutOrStdout().Write(letter.RawData())
			return err
		},
	}
	f.Flags(c, "admin", cli.DefaultAdminAddress)
	return c
}

func newRequeue() *cobra.Command {
	c := newChange("requeue", func(out admin.DeadOutcome) int { return out.Requeued })
	c.Short = "Append dead letters' events to their streams again"
	c.Long = "Append the events of dead letters to their streams again, for example after the destination has\n" +
		"been repaired. An event gets a new offset and goes to ALL destinations of its stream, also to those\n" +
		"that have it already; sending it to one of them alone is not possible. Key, data, time and\n" +
		"attributes stay the same. Each letter is removed after its event is synced; a crash in between\n" +
		"leaves both. A letter whose event is not appended stays, its reason is printed, and the exit code\n" +
		"is 1."
	return c
}

func newDrop() *cobra.Command {
	c := newChange("drop", func(out admin.DeadOutcome) int { return out.Dropped })
	c.Short = "Remove dead letters for good"
	c.Long = "Remove dead letters and their data for good. In the agent's ledger their events stay counted as dead.\n" +
		"With --all also damaged letters. On a terminal it waits for a confirmation, unless IDs or --yes are given."
	return c
}

// newChange returns a command that applies action, requeue or drop, to the dead letters of its arguments and flags.
func newChange(action string, count func(admin.DeadOutcome) int) *cobra.Command {
	var f flags
	c := &cobra.Command{
		Use:  action + " {ID... | --stream S | --destination D | --all}",
		RunE: func(c *cobra.Command, args []string) error { return f.change(c, args, action, count) },
	}
	f.Flags(c, "admin", cli.DefaultAdminAddress)
	f.addFilter(c)
	c.Flags().BoolVar(&f.all, "all", false, "all dead letters")
	if action == "drop" {
		c.Flags().BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	}
	return c
}

// change applies action, requeue or drop, to the chosen letters and prints their number.
func (f *flags) change(c *cobra.Command, args []string, action string, count func(admin.DeadOutcome) int) error {
	choice, err := f.choice(args)
	if err != nil {
		return err
	}
	if action == "drop" && len(choice.IDs) == 0 && !f.yes && cli.Interactive(c) {
		if err := cli.Confirm(c, "Drop "+describe(choice)+" for good? Their data is deleted."); err != nil {
			return err
		}
	}
	client, err := f.connect()
	if err != nil {
		return err
	}
	defer client.Close()
	done, clean := 0, true
	err = client.change(c.Context(), action, choice, func(out admin.DeadOutcome) {
		done += count(out)
		clean = clean && len(out.Refused) == 0 && out.Stopped == ""
		printRefusals(c.ErrOrStderr(), out)
	})
	past := map[string]string{"requeue": "requeued", "drop": "dropped"}[action]
	if _, writeErr := fmt.Fprintf(c.OutOrStdout(), "%s %s\n", past, cli.Number(done, "dead letter")); err == nil {
		err = writeErr
	}
	if err == nil && !clean {
		return &cli.ExitError{Code: cli.ExitFailed}
	}
	return err
}

func (f *flags) choice(args []string) (c admin.DeadChoice, err error) {
	ids, err := readIDs(args)
	if err != nil {
		return c, err
	}
	c = admin.DeadChoice{IDs: ids, Stream: f.stream, Destination: f.destination, All: f.all}
	some := f.stream != "" || f.destination != ""
	if len(ids) > 0 && (some || f.all) || some && f.all || len(ids) == 0 && !some && !f.all {
		return c, &cli.ExitError{Code: cli.ExitUsage, Err: errors.New("choose dead letters by their IDs, or by --stream and --destination, or --all")}
	}
	return c, nil
}

// describe returns the dead letters of a choice without IDs, in words.
func describe(choice admin.DeadChoice) string {
	text := "all dead letters"
	if choice.Stream != "" {
		text += " of stream " + cli.Printable(choice.Stream)
	}
	if choice.Destination != "" {
		text += " of destination " + cli.Printable(choice.Destination)
	}
	return text
}

func readIDs(args []string) (ids []uint64, err error) {
	for _, arg := range args {
		id, err := strconv.ParseUint(arg, 10, 64)
		if err != nil {
			return nil, &cli.ExitError{Code: cli.ExitUsage, Err: fmt.Errorf("invalid dead letter ID %q: must be a number", arg)}
		}
		ids = append(ids, id)
	}
	return ids, nil
}

func printRefusals(w io.Writer, out admin.DeadOutcome) {
	for _, r := range out.Refused {
		fmt.Fprintf(w, "%d: %s\n", r.ID, cli.Printable(r.Reason))
	}
	if out.Stopped != "" {
		fmt.Fprintf(w, "the dead letters after that were not tried: %s\n", cli.Printable(out.Stopped))
	}
}

// writeFacts prints the fields of a letter except its data.
func writeFacts(w io.Writer, l *admin.DeadLetter) {
	t := &cli.Table{}
	t.Note("id          ", strconv.FormatUint(l.ID, 10))
	t.Note("stream      ", l.Stream)
	t.Note("destination ", l.Destination)
	t.Note("offset      ", strconv.FormatUint(l.Offset, 10))
	t.Note("key         ", strconv.Quote(l.Key))
	t.Note("time        ", timeText(l.Time))
	for _, name := range sortedNames(l.Attributes) {
		t.Note("attribute   ", fmt.Sprintf("%q = %q", name, l.Attributes[name]))
	}
	t.Note("bytes       ", humanize.Comma(int64(l.Bytes)))
	t.Note("refused at  ", timeText(l.RefusedAt))
	t.Note("reason      ", l.Reason)
	io.WriteString(w, t.String()) // best effort: the data on standard output is the result
}
