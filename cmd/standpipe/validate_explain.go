package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe/agent"
	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
	"github.com/standpipe/standpipe/shipper"
)

// explainFlags are the flags of validate --explain.
type explainFlags struct {
	on        bool
	perSecond float64 // events, in each stream
	size      string
	card      card
}

func (f *explainFlags) add(c *cobra.Command) {
	c.Flags().BoolVar(&f.on, "explain", false, "print every setting with its value and its origin")
	c.Flags().Float64Var(&f.perSecond, "events-per-second", 20, "events a second in each stream, for --explain")
	c.Flags().StringVar(&f.size, "event-size", "200B", "`bytes` of an event, for --explain")
	f.card.add(c, "4GB")
}

// explain prints every setting with its origin, and what the traffic means for a flash card and a link.
func (f *explainFlags) explain(out io.Writer, conf *config.Config) error {
	size, err := humanize.ParseBytes(f.size)
	if err != nil || size < 1 || size > 16<<20 {
		return &cli.ExitError{Code: cli.ExitUsage, Err: fmt.Errorf("--event-size %q: want 1B to 16MiB", f.size)}
	}
	if !(f.perSecond >= 0.001 && f.perSecond <= 1e7) {
		return &cli.ExitError{Code: cli.ExitUsage, Err: fmt.Errorf("--events-per-second %v: want 0.001 to 10000000", f.perSecond)}
	}
	if err := f.card.check(); err != nil {
		return &cli.ExitError{Code: cli.ExitUsage, Err: err}
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	block := ""
	for _, e := range conf.Explained() {
		if e.Block != block {
			block = e.Block
			fmt.Fprintf(table, "\n%s\n", block)
		}
		fmt.Fprintf(table, "  %s\t%s\t%s\n", e.Name, e.Value, e.From)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	traffic := shipper.Traffic{PerSecond: f.perSecond, Size: int(size), Keys: 1, Compression: 1}
	all, err := agent.Predict(conf, traffic)
	if err != nil {
		return err
	}
	flash, link := agent.WrittenPerDay(conf, traffic), 0.0
	for _, p := range all {
		link += p.Link
	}
	_, err = fmt.Fprintf(out, `
with %s events/s of %s in each stream, by measurements on ext4
  flash  %s
  link   %s
`, humanize.Commaf(f.perSecond), humanize.IBytes(size), f.card.wear(flash), megabytes(link))
	return err
}
