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
	on         bool
	perSecond  float64 // events, in each stream
	size       string
	cardSize   string
	cardCycles float64
}

func (f *explainFlags) add(c *cobra.Command) {
	c.Flags().BoolVar(&f.on, "explain", false, "print every setting with its value and its origin")
	c.Flags().Float64Var(&f.perSecond, "events-per-second", 20, "events a second in each stream, for --explain")
	c.Flags().StringVar(&f.size, "event-size", "200B", "`bytes` of an event, for --explain")
	c.Flags().StringVar(&f.cardSize, "card-size", "4GB", "`bytes` of the flash card, for --explain")
	c.Flags().Float64Var(&f.cardCycles, "card-cycles", 3000, "write cycles of the cells of the flash card, for --explain")
}

// explain prints every setting with its origin, and what the traffic means for a flash card and a link.
func (f *explainFlags) explain(out io.Writer, conf *config.Config) error {
	size, err := humanize.ParseBytes(f.size)
	if err != nil || size < 1 || size > 16<<20 {
		return &cli.ExitError{Code: cli.ExitUsage, Err: fmt.Errorf("--event-size %q: want 1B to 16MiB", f.size)}
	}
	card, err := humanize.ParseBytes(f.cardSize)
	switch {
	case err != nil || card < 1:
		return &cli.ExitError{Code: cli.ExitUsage, Err: fmt.Errorf("--card-size %q: want a size, like 4GB", f.cardSize)}
	case !(f.perSecond >= 0.001 && f.perSecond <= 1e7):
		return &cli.ExitError{Code: cli.ExitUsage, Err: fmt.Errorf("--events-per-second %v: want 0.001 to 10000000", f.perSecond)}
	case !(f.cardCycles >= 1):
		return &cli.ExitError{Code: cli.ExitUsage, Err: fmt.Errorf("--card-cycles %v: want 1 or more", f.cardCycles)}
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
	flash, link, err := agent.PredictDay(conf, traffic)
	if err != nil {
		return err
	}
	years := card * uint64(f.cardCycles)
	_, err = fmt.Fprintf(out, `
with %s events/s of %s in each stream, by measurements on ext4
  flash  %.2f GB a day; a card of %s with %s cycles lasts %.1f years
  link   %.1f MB a day
`, humanize.Commaf(f.perSecond), humanize.IBytes(size), flash/1e9, humanize.Bytes(card), humanize.Commaf(f.cardCycles),
		float64(years)/flash/365.25, link/1e6)
	return err
}
