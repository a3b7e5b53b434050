package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/dustin/go-humanize"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
)

const identityWidth = 20 // of a name; a longer one gets its own line

// access prints the traffic and the rejections of each identity. It prints nothing without identities and rejections.
func (t *statusTable) access(a admin.AccessStatus) {
	if len(a.Identities) == 0 && a.Unknown.Requests == 0 {
		return
	}
	t.Line("")
	t.Line("%-*s %12s %10s %9s  %s", identityWidth+2, "identity", "appended", "bytes", "refused", "last append")
	for _, i := range a.Identities {
		t.identity(i)
	}
	if u := a.Unknown; u.Requests > 0 {
		t.Line("unknown callers: %s rejected", cli.Number(int(u.Requests), "request"))
		t.Note("    ", t.refusal(u.LastRefusal))
	}
}

func (t *statusTable) identity(i admin.IdentityStatus) {
	name := cli.Printable(i.Name)
	if name == "" {
		name = "(listeners' tokens)"
	}
	if utf8.RuneCountInString(name) > identityWidth {
		t.Note("  ", name)
		name = ""
	}
	last := "never"
	if !i.LastAppendAt.IsZero() {
		last = admin.Age(t.now.Sub(i.LastAppendAt.Time)) + " ago"
	}
	t.Line("  %-*s %12s %10s %9s  %s", identityWidth, name, cli.Short(i.Appended.Events, 12), humanize.IBytes(i.Appended.Bytes),
		cli.Short(i.Refused.Events, 9), last)
	if i.Refused.Events > 0 {
		t.Note("    ", reasons(i.Refused.Reasons)+"; "+t.refusal(i.LastRefusal))
	}
}

// reasons formats the count of each reason, sorted by name.
func reasons(of map[string]uint64) string {
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(of)) {
		parts = append(parts, fmt.Sprintf("%s %s", humanize.Comma(int64(of[reason])), reason))
	}
	return strings.Join(parts, ", ")
}

func (t *statusTable) refusal(r admin.Refusal) string {
	text := "last refused " + admin.Age(t.now.Sub(r.At.Time)) + " ago"
	if r.From != "" {
		text += ", from " + r.From
	}
	return text + ": " + r.Why
}
