// Mutate shows that the tests can fail. It puts one small mistake at a time into the code, runs the test that is
// to notice it, and reports every mistake that none did. The code in the checkout stays as it is: the go command
// reads the mistaken file in its place (-overlay).
//
//	go run ./scripts/mutate [-list FILE] [-whole] [REGEXP]
//
// REGEXP chooses by name. With -whole a mistake that its own test misses meets all tests of that package.
// Exit code 1: a mistake was missed, its text no longer stands in the file exactly once, or it does not compile.
//
// # The list
//
// An entry of mutations.txt:
//
//	-- compaction-first-destination-only: compaction keeps what the first destination needs
//	wal/internal/compact/filter.go
//	go test ./wal -run TestCompaction_KeepsWhatEachNeeds
//	<<<<
//	exact text in the file, which stands there once
//	====
//	the mistake
//	>>>>
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// mutation is one mistake, and the test that is to notice it.
type mutation struct {
	name, text string
	file       string // below the module's root
	pkg, run   string // of go test; run is a regular expression
	old, new   string
}

func main() {
	list := flag.String("list", "scripts/mutate/mutations.txt", "the `file` of mutations")
	whole := flag.Bool("whole", false, "run the whole package when a mutation's own test misses it")
	flag.Parse()
	chosen, err := regexp.Compile(flag.Arg(0))
	if err == nil {
		err = run(*list, chosen, *whole)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

func run(list string, chosen *regexp.Regexp, whole bool) error {
	text, err := os.ReadFile(list)
	if err != nil {
		return err
	}
	all, err := parse(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", list, err)
	}
	folder, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	var bad, weak, ran int
	for _, m := range all {
		if !chosen.MatchString(m.name) {
			continue
		}
		ran++
		start := time.Now()
		result, ok := m.try(folder, whole)
		switch {
		case !ok:
			bad++
		case strings.HasPrefix(result, byAccident):
			weak++
		}
		fmt.Printf("%-50s %-10s %5.0f s\n", m.name, result, time.Since(start).Seconds())
	}
	fmt.Printf("%d mutations: %d noticed, %d of them by a crash or a timeout alone; %d not\n", ran, ran-bad, weak, bad)
	if bad > 0 || ran == 0 {
		return fmt.Errorf("%d of %d mutations were not noticed", bad, ran)
	}
	return nil
}

// try runs the tests on the mistaken code. ok: they failed, after the code had compiled.
func (m *mutation) try(folder string, whole bool) (result string, ok bool) {
	overlay, err := m.overlay(folder)
	if err != nil {
		return err.Error(), false
	}
	if out, err := command(overlay, "vet", m.pkg).CombinedOutput(); err != nil {
		return "does not compile: " + firstLine(out), false
	}
	killer, killed := m.test(overlay, m.run)
	if !killed && whole {
		killer, killed = m.test(overlay, ".")
	}
	if !killed {
		return "MISSED", false
	}
	return killer, true
}

// overlay writes the mistaken file, and the JSON file that makes the go command read it.
func (m *mutation) overlay(folder string) (path string, err error) {
	text, err := os.ReadFile(m.file)
	if err != nil {
		return "", err
	}
	if n := bytes.Count(text, []byte(m.old)); n != 1 {
		return "", fmt.Errorf("its text stands %d times in %s, want once", n, m.file)
	}
	mistaken := filepath.Join(folder, "mistaken.go")
	if err := os.WriteFile(mistaken, bytes.Replace(text, []byte(m.old), []byte(m.new), 1), 0o600); err != nil {
		return "", err
	}
	original, err := filepath.Abs(m.file)
	if err != nil {
		return "", err
	}
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{original: mistaken}})
	if err != nil {
		return "", err
	}
	path = filepath.Join(folder, "overlay.json")
	return path, os.WriteFile(path, replace, 0o600)
}

// byAccident begins the result of a mistake that no check of a test has named.
const byAccident = "noticed by no check: "

var failedTest = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)

// test runs the package's tests of that name, and returns the first that failed.
func (m *mutation) test(overlay, run string) (killer string, failed bool) {
	out, err := command(overlay, "test", "-count=1", "-failfast", "-timeout=120s", "-run", run, m.pkg).CombinedOutput()
	switch found := failedTest.FindSubmatch(out); {
	case err == nil:
		return "", false
	case found != nil:
		return "noticed by " + string(found[1]), true
	case bytes.Contains(out, []byte("panic: test timed out")):
		return byAccident + "a timeout", true
	}
	return byAccident + "a crash", true
}

// command runs the go command with the overlay, also for programs that the tests build.
func command(overlay string, args ...string) *exec.Cmd {
	c := exec.Command("go", args...)
	c.Env = append([]string{"STANDPIPE_SEED=random"}, os.Environ()...) // -count runs a drawn test with other parameters
	c.Env = append(c.Env, "GOFLAGS=-overlay="+overlay)
	return c
}

func firstLine(out []byte) string {
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "#") {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

// parse reads the list; an error names the line.
func parse(text string) (all []*mutation, err error) {
	lines := bufio.NewScanner(strings.NewReader(text))
	var m *mutation
	var into *strings.Builder
	var old, mistake strings.Builder
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		switch {
		case into != nil && line == "====":
			into = &mistake
		case into != nil && line == ">>>>":
			m.old, m.new = strings.TrimSuffix(old.String(), "\n"), strings.TrimSuffix(mistake.String(), "\n")
			all, m, into = append(all, m), nil, nil
		case into != nil && line == "<<<<":
			return nil, fmt.Errorf("line %d: %s has no end (\">>>>\")", n, m.name)
		case into != nil:
			into.WriteString(line + "\n")
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "-- "):
			m = &mutation{}
			m.name, m.text, _ = strings.Cut(strings.TrimPrefix(line, "-- "), ": ")
		case m == nil:
			return nil, fmt.Errorf("line %d: %q stands before the first \"-- name: text\"", n, line)
		case strings.HasPrefix(line, "go test "):
			var ok bool
			if m.pkg, m.run, ok = strings.Cut(strings.TrimPrefix(line, "go test "), " -run "); !ok {
				return nil, fmt.Errorf("line %d: got %q, want go test PACKAGE -run NAME", n, line)
			}
		case line == "<<<<" && m.file != "" && m.pkg != "":
			old.Reset()
			mistake.Reset()
			into = &old
		case m.file == "":
			m.file = line
		default:
			return nil, fmt.Errorf("line %d: %q is neither a file, a test nor \"<<<<\"", n, line)
		}
	}
	if m != nil {
		return nil, fmt.Errorf("%s has no end (\">>>>\")", m.name)
	}
	return all, lines.Err()
}
