package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/standpipe/standpipe/agent/admin"
)

func newManCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "man FOLDER",
		Short:  "Write the manual pages of all commands",
		Long:   "Write the manual pages of all commands into a folder, for packages: standpipe.1, standpipe-put.1, and so on.",
		Args:   cobra.ExactArgs(1),
		Hidden: true,
		RunE: func(c *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return err
			}
			return writePages(c.Root(), args[0])
		},
	}
}

// writePages writes the pages of c and its commands.
func writePages(c *cobra.Command, folder string) error {
	if c.Hidden || c.Name() == "help" || c.Name() == "completion" {
		return nil
	}
	var text strings.Builder
	writePage(&text, c)
	if err := os.WriteFile(filepath.Join(folder, pageName(c)+".1"), []byte(text.String()), 0o644); err != nil {
		return err
	}
	for _, sub := range c.Commands() {
		if err := writePages(sub, folder); err != nil {
			return err
		}
	}
	return nil
}

func pageName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// writePage writes one page in the language of man(7).
func writePage(out io.Writer, c *cobra.Command) {
	fmt.Fprintf(out, ".TH %q 1 \"\" %q \"standpipe\"\n", strings.ToUpper(pageName(c)), "standpipe "+admin.Version)
	fmt.Fprintf(out, ".SH NAME\n%s \\- %s\n", roff(pageName(c)), roff(c.Short))
	synopsis := c.UseLine()
	if c.HasAvailableSubCommands() {
		synopsis = c.CommandPath() + " COMMAND"
	}
	fmt.Fprintf(out, ".SH SYNOPSIS\n.B %s\n", roff(synopsis))
	about := c.Long
	if about == "" {
		about = c.Short + "."
	}
	fmt.Fprint(out, ".SH DESCRIPTION\n")
	for _, paragraph := range strings.Split(about, "\n\n") {
		if strings.HasPrefix(paragraph, " ") { // an example
			fmt.Fprintf(out, ".PP\n.nf\n%s\n.fi\n", roff(paragraph))
			continue
		}
		fmt.Fprintf(out, ".PP\n%s\n", roff(paragraph))
	}
	writeCommands(out, c)
	if c.HasAvailableLocalFlags() {
		fmt.Fprint(out, ".SH OPTIONS\n")
		c.LocalFlags().VisitAll(func(f *pflag.Flag) { writeFlag(out, f) })
	}
	var also []string
	if c.HasParent() {
		also = append(also, pageName(c.Parent()))
	}
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() && sub.Name() != "completion" {
			also = append(also, pageName(sub))
		}
	}
	fmt.Fprint(out, ".SH SEE ALSO\n")
	for i, name := range also {
		comma := ","
		if i == len(also)-1 {
			comma = ""
		}
		fmt.Fprintf(out, ".BR %s (1)%s\n", roff(name), comma)
	}
}

// writeCommands lists the commands below c.
func writeCommands(out io.Writer, c *cobra.Command) {
	if !c.HasAvailableSubCommands() {
		return
	}
	fmt.Fprint(out, ".SH COMMANDS\n")
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() && sub.Name() != "completion" {
			fmt.Fprintf(out, ".TP\n.BR %s (1)\n%s.\n", roff(pageName(sub)), roff(sub.Short))
		}
	}
}

func writeFlag(out io.Writer, f *pflag.Flag) {
	if f.Hidden {
		return
	}
	value, usage := pflag.UnquoteUsage(f)
	name := "--" + f.Name
	if f.Shorthand != "" {
		name = "-" + f.Shorthand + ", " + name
	}
	fmt.Fprintf(out, ".TP\n.B %s", roff(name))
	if value != "" {
		fmt.Fprintf(out, " %s", roff(strings.ToUpper(value)))
	}
	fmt.Fprintf(out, "\n%s", roff(usage))
	if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" && f.DefValue != "[]" {
		fmt.Fprintf(out, " (default: %s)", roff(f.DefValue))
	}
	fmt.Fprintln(out)
}

// roff escapes text: no line begins with a control character, and hyphens stay hyphens.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
