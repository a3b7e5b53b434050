package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The commands that the documentation shows in code blocks exist, with their flags and arguments.
func TestDocs_CommandsParse(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	fence := regexp.MustCompile("(?ms)^ *```sh\n(.*?)^ *```$")
	for _, page := range append(pages, "../../README.md", "../../CONTRIBUTING.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range fence.FindAllSubmatch(text, -1) {
			script := strings.ReplaceAll(string(block[1]), "\\\n", " ")
			for _, command := range strings.FieldsFunc(script, func(r rune) bool { return strings.ContainsRune("\n|;&", r) }) {
				command, _, _ = strings.Cut(command, " #")
				words := strings.Fields(command)
				if len(words) > 0 && words[0] == "sudo" {
					words = words[1:]
				}
				if len(words) == 0 || filepath.Base(words[0]) != "standpipe" {
					continue
				}
				if err := parses(words[1:]); err != nil {
					t.Errorf("%s: %s: %v", page, command, err)
				}
			}
		}
	}
}

// parses checks a command line as far as possible without running it.
func parses(args []string) error {
	for i, arg := range args {
		args[i] = strings.Trim(arg, `'"`)
	}
	c, rest, err := newRoot().Find(args)
	if err != nil {
		return err
	}
	if c.HasSubCommands() {
		return fmt.Errorf("unknown command %q", args)
	}
	c.InitDefaultHelpFlag()
	if err := c.ParseFlags(rest); err != nil {
		return err
	}
	return c.ValidateArgs(c.Flags().Args())
}
