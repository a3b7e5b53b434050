package main

import (
	"fmt"
	"unicode/utf8"

	"github.com/dustin/go-humanize"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
)

// bill is the billed volume and the cost of destinations.
type bill struct {
	Title string    `json:"of"`
	Rows  []costRow `json:"destinations"`
	Day   day       `json:"day"`
}

// day has the bytes of a day, of all streams.
type day struct {
	Written float64 `json:"written_bytes"`
	Link    float64 `json:"link_bytes"`
	Years   float64 `json:"card_years,omitempty"` // 0: nothing is written, or there is no card
	card    *card
}

// write sets the bytes that are written, and the years of the card.
func (d *day) write(bytes float64, k *card) {
	d.Written, d.card = bytes, k
	if bytes > 0 {
		d.Years = k.years(bytes)
	}
}

func (t *statusTable) day(d *day) {
	t.Line("")
	t.Note("flash  ", d.card.wear(d.Written))
	t.Note("link   ", megabytes(d.Link))
}

// costRow is one destination. Its Cost is nil if it has no price.
type costRow struct {
	Stream   string      `json:"stream"`
	Type     string      `json:"type"`
	Name     string      `json:"name"`
	Payload  float64     `json:"payload_bytes"`
	Billed   float64     `json:"billed_bytes"`
	PutUnits float64     `json:"put_units"`
	Requests float64     `json:"requests"`
	Records  float64     `json:"records"`
	Cost     *admin.Cost `json:"cost,omitempty"`
}

func (r *costRow) price(p *config.Prices) {
	r.Cost = nil
	if amount, ok := p.Of(r.Type, config.Usage{BilledBytes: r.Billed, Requests: r.Requests, Units: r.PutUnits}); ok {
		r.Cost = &admin.Cost{Amount: amount, Currency: p.Currency}
	}
}

// table formats the bill for a terminal of 80 columns.
func (b *bill) table() string {
	t := &statusTable{}
	t.Note("", b.Title)
	stream := ""
	for i := range b.Rows {
		if r := &b.Rows[i]; r.Stream != stream || i == 0 {
			stream = r.Stream
			t.Line("")
			t.Note("stream ", stream)
			t.Line("  %-*s %9s %9s %6s %9s %9s %13s", costNameWidth, "destination", "payload", "billed", "ratio", "requests", "records", "cost")
		}
		t.costRow(&b.Rows[i])
	}
	if sum, ok := b.sum(); ok && len(b.Rows) > 1 {
		t.Line("")
		t.Line("%*s", cli.TextWidth, "together "+money(sum))
	}
	t.day(&b.Day)
	return t.String()
}

// costNameWidth is the column of the destination. A longer name gets its own line.
const costNameWidth = 16

func (t *statusTable) costRow(r *costRow) {
	name := cli.Printable(r.Type + " " + r.Name)
	if utf8.RuneCountInString(name) > costNameWidth {
		t.Note("  ", name)
		name = ""
	}
	ratio, cost := "-", "not set"
	if r.Payload > 0 {
		ratio = fmt.Sprintf("%.3f", r.Billed/r.Payload)
	}
	switch {
	case r.Cost != nil:
		cost = money(*r.Cost)
	case !config.HasPrice(r.Type):
		cost = "-"
	}
	t.Line("  %-*s %9s %9s %6s %9s %9s %13s", costNameWidth, name, humanize.IBytes(uint64(r.Payload)), humanize.IBytes(uint64(r.Billed)), ratio,
		cli.Short(uint64(r.Requests), 9), cli.Short(uint64(r.Records), 9), cost)
	switch units := cli.Short(uint64(r.PutUnits), 15); {
	case r.PutUnits == 0:
	case r.Type == "sqs":
		t.Note("    ", "billed as "+units+" requests of up to 64 KiB")
	default:
		t.Note("    ", "or, provisioned, "+units+" put payload units of 25 KB")
	}
}

// sum adds up the costs. It reports false without costs and for several currencies.
func (b *bill) sum() (sum admin.Cost, ok bool) {
	for _, r := range b.Rows {
		if r.Cost == nil {
			continue
		}
		if ok && sum.Currency != r.Cost.Currency {
			return admin.Cost{}, false
		}
		sum.Currency, ok = r.Cost.Currency, true
		sum.Amount += r.Cost.Amount
	}
	return sum, ok
}

func money(c admin.Cost) string {
	digits := 2
	switch {
	case c.Amount < 0.01:
		digits = 6
	case c.Amount < 1:
		digits = 4
	}
	return humanize.FormatFloat("#,###."+"######"[:digits], c.Amount) + " " + cli.Printable(c.Currency)
}
