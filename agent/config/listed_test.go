package config_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/standpipe/standpipe/agent/config"
)

var update = flag.Bool("update", false, "write the texts of faults and warnings to testdata")

// listed is a configuration of a list in testdata, with the text that is printed for it.
type listed struct{ name, src, text string }

// readList reads entries of the form: a line "== NAME", the configuration, a line "--", the text.
func readList(t testing.TB, file string) (list []listed) {
	t.Helper()
	all, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range strings.Split("\n"+string(all), "\n== ")[1:] {
		name, rest, _ := strings.Cut(entry, "\n")
		src, text, _ := strings.Cut("\n"+rest, "\n--")
		list = append(list, listed{name, strings.TrimPrefix(src+"\n", "\n"), strings.Trim(text, "\n")})
	}
	return list
}

func writeList(t *testing.T, file string, list []listed) {
	t.Helper()
	var all strings.Builder
	for _, l := range list {
		fmt.Fprintf(&all, "== %s\n%s--\n%s\n\n", l.name, l.src, l.text)
	}
	if err := os.WriteFile(filepath.Join("testdata", file), []byte(all.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

func printed(t *testing.T, faults []config.Fault) string {
	t.Helper()
	var text bytes.Buffer
	if err := config.WriteFaults(&text, faults); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(text.String(), "\n")
}

// compareList compares the text of each configuration in the list with the printed one. With -update it writes the list.
func compareList(t *testing.T, file string, print func(t *testing.T, src string) []config.Fault) {
	list := readList(t, file)
	for i, l := range list {
		t.Run(l.name, func(t *testing.T) {
			faults := print(t, l.src)
			got := printed(t, faults)
			if len(faults) != 1 {
				t.Errorf("got %d texts for one mistake:\n%s", len(faults), got)
			}
			if !*update && got != l.text {
				t.Errorf("\n%s\ngot\n%s\nwant\n%s", l.src, got, l.text)
			}
			list[i].text = got
		})
	}
	if *update {
		writeList(t, file, list)
	}
}

// complete matches a text that ends with the allowed values.
var complete = regexp.MustCompile(`^agent\.hcl:[0-9]+:[0-9]+: .*(allowed is|needed is|did you mean|may stand once|it belongs in|is allowed|are allowed|allowed are)`)

// testdata/faulty.txt is the list of mistakes, one a configuration, and of their texts.
func TestFaults_AsListed(t *testing.T) {
	compareList(t, "faulty.txt", func(t *testing.T, src string) []config.Fault {
		_, err := config.Parse([]byte(src), "agent.hcl")
		var faults *config.FaultsError
		if !errors.As(err, &faults) {
			t.Fatalf("got %v, want a fault in\n%s", err, src)
		}
		for _, f := range faults.Faults {
			if !complete.MatchString(f.String()) || f.Source == "" || f.Size == 0 {
				t.Errorf("got %q of %q, want the place, the line, and what is allowed", f, f.Source)
			}
		}
		return faults.Faults
	})
}

// testdata/doubtful.txt is the list of valid configurations with a warning.
func TestWarnings_AsListed(t *testing.T) {
	compareList(t, "doubtful.txt", func(t *testing.T, src string) []config.Fault {
		c, err := config.Parse([]byte(src), "agent.hcl")
		if err != nil {
			t.Fatalf("got %v, want a warning in\n%s", err, src)
		}
		return c.Warnings()
	})
}

// A long line is cut around its fault, and a tab before the fault stays a tab.
func TestFaults_OfALongLine(t *testing.T) {
	src := "wal {\n\tmax_size = \"8\" # " + strings.Repeat("x", 1000) + "\n}\nlistener \"http\" {\naddress = \"127.0.0.1:1\"\ncors_origins = [" + strings.Repeat(`"*", `, 100) + "7]\n}"
	_, err := config.Parse([]byte(src), "agent.hcl")
	var faults *config.FaultsError
	if !errors.As(err, &faults) {
		t.Fatalf("got %v, want faults", err)
	}
	got := printed(t, faults.Faults)
	want := `agent.hcl:2:13: max_size: "8" has no unit; allowed is a size of 1MiB or more, like "8GiB"
    	max_size = "8" # ` + strings.Repeat("x", 140-len("\tmax_size = \"8\" # ")) + `
    	           ^^^
agent.hcl:6:517: cors_origins: 7 is a bare number, not a string in quotes; allowed is a list of origins, like ["https://shop.example"], or ["*"]
    ` + strings.Repeat(`"*", `, 8) + `7]
    ` + strings.Repeat(" ", 40) + "^"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// Carets are below their value also behind and below wide characters, combining ones and tabs. Control characters of the file
// are not printed.
func TestFaults_CaretsAreBelowTheirValue(t *testing.T) {
	for _, tt := range []struct {
		name, src string
		want      []string // the line and its carets
	}{
		{"a wide character before it", "admin {} /* 日本 */ log_level", []string{
			"admin {} /* 日本 */ log_level",
			"                    ^^^^^^^^^"}},
		{"wide characters", "node_name = 日本", []string{
			"node_name = 日本",
			"            ^^^^"}},
		{"combining characters", "node_name = éé # x", []string{
			"node_name = éé # x",
			"            ^^"}},
		{"combining characters in an unquoted name", "node_name = éé\"", []string{
			"node_name = éé\"",
			"            ^^^"}},
		{"an emoji of several code points", "log_level = \"\U0001f469\u200d\U0001f680\"", []string{
			"log_level = \"\U0001f469\u200d\U0001f680\"",
			"            ^^^^"}},
		{"tabs", "wal {\n\tmax_size\t=\t[\t7\t]\n}", []string{
			"\tmax_size\t=\t[\t7\t]",
			"\t        \t \t^\t^\t^"}},
		{"a carriage return in a header", "stream \"a\" {\n destination \"file\"\r\"b\" {\n", []string{
			" destination \"file\" \"b\" {",
			"                   ^"}},
		{"a carriage return in a comment", "/* \r */ wal {\n", []string{
			"/*   */ wal {",
			"            ^"}},
		{"an escape character", "node_name = \x1b[31mred", []string{
			"node_name =  [31mred",
			"            ^"}},
		{"a no-break space", "node_name =\u00a0\"a\"", []string{
			"node_name =\u00a0\"a\"",
			"           ^"}},
		{"bytes that are no text", "log_level = \"\xff\xfe\" ;", []string{
			"log_level = \"\ufffd\ufffd\" ;",
			"             ^"}},
		{"a long line of wide characters", "log_level = \"" + strings.Repeat("日", 100) + "\"", []string{
			"log_level = \"" + strings.Repeat("日", 63), // and a column that is half of a character
			"            ^" + strings.Repeat("^^", 63)}},
		{"the end of a long line of wide characters", "/* " + strings.Repeat("日", 100) + " */ ;", []string{
			strings.Repeat("日", 18) + " */ ;",
			strings.Repeat("  ", 18) + "    ^"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := config.Parse([]byte(tt.src), "agent.hcl")
			var faults *config.FaultsError
			if !errors.As(err, &faults) {
				t.Fatalf("got %v, want faults", err)
			}
			got := strings.Split(printed(t, faults.Faults), "\n    ")
			if !slices.Equal(got[1:], tt.want) || strings.ContainsFunc(got[0], unicode.IsControl) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

// The configurations of the documentation are as intended.
func TestWarnings_NoneForExamples(t *testing.T) {
	for _, path := range []string{filepath.Join("testdata", "agent.hcl"), filepath.Join("..", "..", "agent.hcl.example")} {
		c, err := config.Load(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Warnings()) != 0 {
			t.Errorf("got\n%s", printed(t, c.Warnings()))
		}
	}
}
