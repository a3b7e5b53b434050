package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/rivo/uniseg"

	"github.com/standpipe/standpipe/agent/config"
)

// FuzzParse holds that any bytes are either a Config that can run or faults that can be read.
func FuzzParse(f *testing.F) {
	for _, path := range []string{filepath.Join("testdata", "agent.hcl"), filepath.Join("..", "..", "agent.hcl.example")} {
		src, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	f.Add([]byte(minimal))
	f.Add([]byte(everyDestination))
	f.Add([]byte("node_name = \"${env.HOME}-${env(\"STANDPIPE_TEST_UNSET\", \"x\")}\"\nadmin {}\nwal {}"))
	f.Add([]byte("node_name = \"${1e999999999}\"\nwal {\nmax_size = -1e9\n}"))
	f.Add([]byte("aws {\n region = <<X\na\nX\n role_arn = null\n endpoint = \"http://[::1]:1\"\n}"))
	f.Add([]byte("stream \"a\" {\n destination \"file\" \"b\" { path = \"%{if true}x%{endif}$${stream}\" }\n}\n\x00\xff"))
	f.Add([]byte("wal\r{\n\x1b}"))
	f.Add([]byte("data_dir = \"" + strings.Repeat("日\u0301\t", 200) + "\" \"\""))

	for _, file := range []string{"faulty.txt", "doubtful.txt"} {
		for _, l := range readList(f, file) {
			f.Add([]byte(l.src))
		}
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		c, err := config.Parse(src, "fuzz.hcl")
		if err != nil {
			checkFaults(t, err)
			return
		}
		checkConfig(t, c)
	})
}

func checkFaults(t *testing.T, err error) {
	var faults *config.FaultsError
	if !errors.As(err, &faults) || len(faults.Faults) == 0 {
		t.Fatalf("got %v, want a FaultsError", err)
	}
	last := 0
	checkPrinted(t, faults.Faults)
	for _, fault := range faults.Faults {
		if fault.Pos.Line < max(last, 1) || fault.Pos.Column < 1 || fault.Pos.File != "fuzz.hcl" {
			t.Errorf("%v: the place is none, or before line %d", fault, last)
		}
		if strings.ContainsFunc(fault.Text, unicode.IsControl) || fault.Text == "" {
			t.Errorf("%q: not one line without control characters", fault.Text)
		}
		last = fault.Pos.Line
	}
}

// checkPrinted holds that an excerpt is one line of the file without control characters, and one line of carets that lie below it.
func checkPrinted(t *testing.T, faults []config.Fault) {
	for _, f := range faults {
		lines := strings.Split(printed(t, []config.Fault{f}), "\n")
		if len(lines) == 1 {
			continue // the fault is at an empty line
		}
		if len(lines) != 3 || strings.Trim(lines[2], " \t^") != "" || !strings.Contains(lines[2], "^") ||
			strings.ContainsFunc(lines[1], func(c rune) bool { return unicode.IsControl(c) && c != '\t' }) || uniseg.StringWidth(lines[1]) > 160 {
			t.Errorf("got %q for %q", lines, f.Source)
		}
	}
}

func checkConfig(t *testing.T, c *config.Config) {
	checkPrinted(t, c.Warnings())
	if len(c.Listeners) == 0 || c.NodeName == "" || c.DataDir == "" || c.WAL.SegmentSize > c.WAL.MaxSize/4 {
		t.Errorf("got %+v", c)
	}
	for _, s := range c.Streams {
		if len(s.Destinations) == 0 || s.MaxEventSize < 1 {
			t.Errorf("got %+v", s)
		}
		if strings.Contains(s.Name, "*") {
			continue
		}
		if got, ok := c.Match(s.Name); !ok || got.Name != s.Name {
			t.Errorf("Match(%q): got %v, %v", s.Name, got, ok)
		}
	}
}
