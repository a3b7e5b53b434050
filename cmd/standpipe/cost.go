package main

import (
	"context"
	"fmt"
	"io"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe/agent"
	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
	"github.com/standpipe/standpipe/shipper"
)

// A month has 30 days here.
const monthSeconds = 30 * 24 * 60 * 60

// costFlags are the flags of the cost command.
type costFlags struct {
	traffic shipper.Traffic
	size    string
	stream  string
	card    card
	dial    cli.DialFlags // to a running agent; no address: none
	asJSON  bool
}

func newCostCommand() *cobra.Command {
	var f costFlags
	c := &cobra.Command{
		Use:   "cost FILE",
		Short: "Estimate or show the cost of shipping",
		Long: "Estimate the billed volume and cost of each destination of a configuration file for a month of\n" +
			"30 days with the given traffic in each stream. Records are packed as the agent packs them. With\n" +
			"--address, show the billed volume of a running agent so far, at the prices of the file.\n\n" +
			"The prices are in the file's prices block. Hourly prices and the costs behind the service are\n" +
			"not included.\n\n" +
			"The bytes that the log writes on a day, the years of a flash card, and the bytes on the link\n" +
			"follow, for all streams. Those of a running agent are of its last hour.",
		ValidArgsFunction: cli.ConfigFile,
		Args:              cobra.ExactArgs(1),
		RunE:              func(c *cobra.Command, args []string) error { return f.show(c, args[0]) },
	}
	c.Flags().Float64Var(&f.traffic.PerSecond, "events-per-second", 100, "events a second in each stream")
	c.Flags().StringVar(&f.size, "event-size", "1KiB", "`bytes` of an event, like 512B or 1KiB")
	c.Flags().IntVar(&f.traffic.Keys, "keys", 1000, "partition keys, with equally many events")
	c.Flags().Float64Var(&f.traffic.Compression, "compression-ratio", 1, "compression ratio of records, where compression is configured")
	c.Flags().StringVar(&f.stream, "stream", "", "only this stream of the file, by its `name` or pattern")
	f.card.add(c, "4GB")
	f.dial.Flags(c, "admin", "")
	c.Flags().BoolVar(&f.asJSON, "json", false, "print JSON")
	return c
}

func (f *costFlags) show(c *cobra.Command, path string) error {
	if err := f.check(); err != nil {
		return &cli.ExitError{Code: cli.ExitUsage, Err: err}
	}
	conf, err := agent.Load(path)
	if err != nil {
		return &cli.ExitError{Code: cli.ExitFailed, Err: printFaults(err, c.ErrOrStderr())}
	}
	bill, err := f.bill(c.Context(), conf)
	if err != nil {
		return err
	}
	return bill.write(c.OutOrStdout(), f.asJSON)
}

// check returns an error for values beyond the limits, within which a forecast takes seconds.
func (f *costFlags) check() error {
	size, err := humanize.ParseBytes(f.size)
	switch {
	case err != nil || size < 1 || size > 16<<20:
		return fmt.Errorf("--event-size %q: want 1B to 16MiB", f.size)
	case !(f.traffic.PerSecond >= 0.001 && f.traffic.PerSecond <= 1e7):
		return fmt.Errorf("--events-per-second %v: want 0.001 to 10000000", f.traffic.PerSecond)
	case f.traffic.Keys < 1 || f.traffic.Keys > 1e6:
		return fmt.Errorf("--keys %d: want 1 to 1000000", f.traffic.Keys)
	case !(f.traffic.Compression >= 1 && f.traffic.Compression <= 1000):
		return fmt.Errorf("--compression-ratio %v: want 1 to 1000", f.traffic.Compression)
	}
	f.traffic.Size = int(size)
	return f.card.check()
}

func (f *costFlags) bill(ctx context.Context, conf *config.Config) (*bill, error) {
	if f.dial.Address != "" {
		status, err := getStatus(ctx, &f.dial)
		if err != nil {
			return nil, err
		}
		return billOf(status, &conf.Prices, f.stream, &f.card)
	}
	all, err := agent.Predict(conf, f.traffic)
	if err != nil {
		return nil, err
	}
	b := &bill{Title: fmt.Sprintf("a month of 30 days at %s events/s of %s and %s keys a stream", humanize.Commaf(f.traffic.PerSecond),
		humanize.IBytes(uint64(f.traffic.Size)), humanize.Comma(int64(f.traffic.Keys)))}
	b.Day.write(agent.WrittenPerDay(conf, f.traffic), &f.card)
	for _, p := range all {
		b.Day.Link += p.Link
		if f.stream != "" && p.Stream != f.stream {
			continue
		}
		row := costRow{Stream: p.Stream, Type: p.Type, Name: p.Name, Payload: p.Payload * monthSeconds, Billed: p.Billed * monthSeconds,
			PutUnits: p.Units * monthSeconds, Requests: p.Requests * monthSeconds, Records: p.Records * monthSeconds}
		row.price(&conf.Prices)
		b.Rows = append(b.Rows, row)
	}
	return b, b.empty(f.stream)
}

// billOf returns the bill by an agent's own counters. With nil prices it uses the costs of the status.
func billOf(s admin.Status, prices *config.Prices, only string, k *card) (*bill, error) {
	b := &bill{Title: fmt.Sprintf("so far, counted by %s since its log began", s.Agent.NodeName)}
	b.Day.write(writtenPerDay(&s.WAL), k)
	b.Day.Link = s.Link.PerDay
	for _, stream := range s.Streams {
		if only != "" && stream.Name != only {
			continue
		}
		for _, d := range stream.Destinations {
			row := costRow{Stream: stream.Name, Type: d.Type, Name: d.Name, Payload: float64(d.Delivered.Bytes), Billed: float64(d.BilledBytes),
				PutUnits: float64(d.PutUnits), Requests: float64(d.Requests), Records: float64(d.Records), Cost: d.Cost}
			if prices != nil {
				row.price(prices)
			}
			b.Rows = append(b.Rows, row)
		}
	}
	return b, b.empty(only)
}

// empty returns an error if the bill is for an unknown stream.
func (b *bill) empty(stream string) error {
	if stream != "" && len(b.Rows) == 0 {
		return &cli.ExitError{Code: cli.ExitUsage, Err: fmt.Errorf("--stream %q: no such stream", stream)}
	}
	return nil
}

func (b *bill) write(out io.Writer, asJSON bool) error {
	if asJSON {
		return cli.WriteJSON(out, b)
	}
	_, err := io.WriteString(out, b.table())
	return err
}
