package main

import (
	"fmt"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
)

// card is the flash card of the flags --card-size and --card-cycles.
type card struct {
	size   string
	cycles float64
	bytes  uint64 // of size, once check has returned; 0: there is no card
}

func (k *card) add(c *cobra.Command, size string) {
	c.Flags().StringVar(&k.size, "card-size", size, "`bytes` of the flash card of the log, like 4GB")
	c.Flags().Float64Var(&k.cycles, "card-cycles", 3000, "write cycles of the cells of the flash card")
}

func (k *card) check() (err error) {
	if k.size != "" {
		if k.bytes, err = humanize.ParseBytes(k.size); err != nil || k.bytes == 0 {
			return fmt.Errorf("--card-size %q: want a size, like 4GB", k.size)
		}
	}
	if !(k.cycles >= 1) {
		return fmt.Errorf("--card-cycles %v: want 1 or more", k.cycles)
	}
	return nil
}

// years returns the life of the card at that many written bytes a day.
func (k *card) years(perDay float64) float64 {
	return float64(k.bytes) * k.cycles / perDay / 365.25
}

// life describes the card and its life at that many written bytes a day.
func (k *card) life(perDay float64) string {
	text := fmt.Sprintf("a card of %s with %s cycles", humanize.Bytes(k.bytes), humanize.Commaf(k.cycles))
	if perDay <= 0 {
		return text + " does not wear out"
	}
	return fmt.Sprintf("%s lasts %.1f years", text, k.years(perDay))
}

// wear describes that many written bytes a day and, if there is a card, its life.
func (k *card) wear(perDay float64) string {
	if k.bytes == 0 {
		return gigabytes(perDay)
	}
	return gigabytes(perDay) + "; " + k.life(perDay)
}

// gigabytes formats the bytes of a day.
func gigabytes(perDay float64) string { return fmt.Sprintf("%.2f GB a day", perDay/1e9) }

// megabytes formats the bytes of a day.
func megabytes(perDay float64) string { return fmt.Sprintf("%.1f MB a day", perDay/1e6) }
