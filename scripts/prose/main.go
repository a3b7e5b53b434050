// Prose counts the habits of writing that make a reader stop: free relatives ("what was appended" in place of
// "appended events"), sentences of more than 40 words, and verbs that make a person of code ("is told", "asks").
// It reads comments and texts of Go files, Markdown, and comments of HCL files.
//
//	go run ./scripts/prose [-list] [-limit N] [FOLDER or FILE ...]
//	go run ./scripts/prose -ceilings | -lower
//
// Without names it reads the files of the whole checkout. It prints one line a folder; -list prints every finding as
// file:line instead. Exit code 1: a folder has N or more free relatives for each 1,000 words (default 2), a quarter of
// that many persons of code, or a long sentence. One finding of a kind alone is never too many, except a long sentence.
//
// The older texts of the project are over these limits. For each of their folders ceilings.txt records the findings at
// most: -ceilings prints only the folders that have more, and exits with 1 for these alone. -lower records the present
// counts, unless a folder has more than before.
//
// bbolt and cobra have 0.3 free relatives and 0.2 to 0.7 persons of code for each 1,000 words.
package main

import (
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
)

// ceilingsFile is where the ceilings are recorded, from the top of the checkout.
const ceilingsFile = "scripts/prose/ceilings.txt"

func main() {
	list := flag.Bool("list", false, "print every finding")
	limit := flag.Float64("limit", 2, "free relatives allowed for each 1,000 words, less than `N`")
	ceilings := flag.Bool("ceilings", false, "print only folders over their ceiling")
	lower := flag.Bool("lower", false, "record the present counts as ceilings")
	flag.Parse()
	var ok bool
	var err error
	if *ceilings || *lower {
		ok, err = keep(os.Stdout, ".", *lower, *limit)
	} else {
		ok, err = run(os.Stdout, flag.Args(), *list, *limit)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "prose:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// run reads the named folders and files and reports whether all keep to the limits.
func run(out io.Writer, names []string, list bool, limit float64) (ok bool, err error) {
	if len(names) == 0 {
		names = []string{"."}
	}
	counts := make(map[string]*tally)
	for _, name := range names {
		if err := count(counts, name, func(path string, line int, f finding) {
			if list {
				fmt.Fprintf(out, "%s:%d: %s: %s\n", path, line, f.kind, f.text)
			}
		}); err != nil {
			return false, err
		}
	}
	return report(out, counts, list, limit), nil
}

// keep reports whether every folder of the checkout at top keeps to its ceiling, and lowers the ceilings on request.
func keep(out io.Writer, top string, lower bool, limit float64) (ok bool, err error) {
	if err := os.Chdir(top); err != nil {
		return false, err
	}
	ceilings, err := readCeilings(ceilingsFile)
	if err != nil {
		return false, err
	}
	counts := make(map[string]*tally)
	if err := count(counts, ".", func(string, int, finding) {}); err != nil {
		return false, err
	}
	ok = overCeilings(out, counts, ceilings, limit)
	if ok && lower {
		err = writeCeilings(ceilingsFile, counts, limit)
	}
	return ok, err
}

// count adds the texts below name to the counts of their folders.
func count(counts map[string]*tally, name string, found func(path string, line int, f finding)) error {
	return filepath.WalkDir(name, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != name && (strings.HasPrefix(d.Name(), ".") || d.Name() == "bin" || d.Name() == "node_modules"):
			return filepath.SkipDir
		case d.IsDir() || !readable(path):
			return nil
		}
		texts, err := textsOf(path)
		if err != nil {
			return err
		}
		folder := filepath.ToSlash(filepath.Dir(path))
		if counts[folder] == nil {
			counts[folder] = &tally{}
		}
		for _, t := range texts {
			for _, f := range counts[folder].add(t) {
				found(path, t.line, f)
			}
		}
		return nil
	})
}

// report prints the table, unless the findings were listed, and reports whether every folder keeps to the limits.
func report(out io.Writer, counts map[string]*tally, list bool, limit float64) (ok bool) {
	ok = true
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if list {
		table = tabwriter.NewWriter(io.Discard, 0, 0, 2, ' ', 0)
	}
	fmt.Fprintln(table, "folder\twords\tfree relatives\tper 1,000\tlong sentences\tpersons of code\t")
	folders := make([]string, 0, len(counts))
	all := tally{}
	for folder, c := range counts {
		folders = append(folders, folder)
		all.plus(c)
	}
	slices.Sort(folders)
	line := func(name string, c *tally) {
		mark := ""
		if c.over(limit) {
			mark, ok = "over", false
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%.1f\t%d\t%d\t%s\n", name, c.words, c.relatives, c.per1000(c.relatives), c.long, c.persons, mark)
	}
	for _, folder := range folders {
		line(folder, counts[folder])
	}
	line("all", &all)
	table.Flush()
	return ok
}
