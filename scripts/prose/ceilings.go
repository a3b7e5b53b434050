package main

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
)

// readCeilings reads a file of ceilings: on each line a folder and its counts of free relatives, long sentences and
// persons of code.
func readCeilings(name string) (map[string]*tally, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	ceilings := make(map[string]*tally)
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line, _, _ := strings.Cut(lines.Text(), "#")
		if strings.TrimSpace(line) == "" {
			continue
		}
		var folder string
		c := &tally{}
		if _, err := fmt.Sscan(line, &folder, &c.relatives, &c.long, &c.persons); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, n, err)
		}
		if ceilings[folder] != nil {
			return nil, fmt.Errorf("%s:%d: second ceiling of %s", name, n, folder)
		}
		ceilings[folder] = c
	}
	return ceilings, lines.Err()
}

// overCeilings prints the folders that are over the limit and over their ceiling, and reports whether there are none.
// A folder without a ceiling counts to its nearest parent that has one, so a package may be split.
func overCeilings(out io.Writer, counts, ceilings map[string]*tally, limit float64) (ok bool) {
	sums := make(map[string]*tally)
	for folder, c := range counts {
		if !c.over(limit) {
			continue
		}
		at := folder
		for ceilings[at] == nil && path.Dir(at) != "." {
			at = path.Dir(at)
		}
		if ceilings[at] == nil {
			at = folder
		}
		if sums[at] == nil {
			sums[at] = &tally{}
		}
		sums[at].plus(c)
	}
	ok = true
	for _, folder := range slices.Sorted(maps.Keys(sums)) {
		sum, most := sums[folder], ceilings[folder]
		if most == nil {
			most = &tally{}
		}
		if sum.relatives <= most.relatives && sum.long <= most.long && sum.persons <= most.persons {
			continue
		}
		ok = false
		fmt.Fprintf(out, "prose: %s: %d free relatives, %d long sentences, %d persons of code; at most %d, %d, %d. See make prose PROSE=\"-list %s\"\n",
			folder, sum.relatives, sum.long, sum.persons, most.relatives, most.long, most.persons, folder)
	}
	return ok
}

// writeCeilings writes the present counts of the folders that are over the limit.
func writeCeilings(name string, counts map[string]*tally, limit float64) error {
	var text strings.Builder
	text.WriteString("# The findings that each folder may have at most: free relatives, long sentences, persons of code. A ceiling only falls:\n" +
		"# `make prose PROSE=-lower` writes the present counts. A folder that keeps to the limits needs none.\n")
	for _, folder := range slices.Sorted(maps.Keys(counts)) {
		if c := counts[folder]; c.over(limit) {
			fmt.Fprintf(&text, "%s %d %d %d\n", folder, c.relatives, c.long, c.persons)
		}
	}
	return os.WriteFile(name, []byte(text.String()), 0o644)
}
