package main

import (
	"os"
	"strings"
	"testing"
)

// The list goes with the code: a change to a line that is in it has to change it there too.
func TestMutationsStandInTheCode(t *testing.T) {
	text, err := os.ReadFile("mutations.txt")
	if err != nil {
		t.Fatal(err)
	}
	all, err := parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir("../..")
	folder, names := t.TempDir(), make(map[string]bool)
	for _, m := range all {
		if _, err := m.overlay(folder); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
		if names[m.name] || m.old == m.new || m.text == "" {
			t.Errorf("%s: its name is taken, it changes nothing, or it says nothing", m.name)
		}
		names[m.name] = true
	}
}

func TestMutationListFaults(t *testing.T) {
	const entry = "-- name: text\nfile.go\ngo test ./p -run T\n<<<<\nold\n====\nnew\n>>>>\n"
	for text, want := range map[string]string{
		entry:                                       "",
		"file.go\n" + entry:                         `line 1: "file.go" stands before`,
		strings.Replace(entry, " -run T", "", 1):    "line 3: got \"go test ./p\"",
		strings.Replace(entry, "<<<<", "<<<", 1):    "line 4:",
		strings.TrimSuffix(entry, ">>>>\n"):         "name has no end",
		strings.TrimSuffix(entry, ">>>>\n") + entry: "name has no end",
	} {
		all, err := parse(text)
		if want == "" {
			if err != nil || len(all) != 1 || all[0].old != "old" || all[0].new != "new" || all[0].pkg != "./p" || all[0].run != "T" {
				t.Errorf("got %+v, %v", all, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
