// Package pattern has the names of streams, and the patterns of such names, in which * is any run of characters.
package pattern

import (
	"fmt"
	"strings"

	"github.com/standpipe/standpipe/agent/config/internal/schema"
)

// MaxName is the most characters of a name.
const MaxName = 128

// Valid returns an error unless name has 1 to 128 characters of A-Z a-z 0-9 . _ - and does not start with . or -.
func Valid(name string) error { return valid(name, "") }

// ValidPattern is Valid for a name that may contain *.
func ValidPattern(pattern string) error {
	if strings.Contains(pattern, "**") {
		return fmt.Errorf("%s has two * in a row, which mean the same as one", schema.Quote(pattern))
	}
	return valid(pattern, "*")
}

func valid(name, extra string) error {
	switch {
	case name == "":
		return fmt.Errorf("%s is empty; a name has 1 to %d characters", schema.Quote(name), MaxName)
	case len(name) > MaxName:
		return fmt.Errorf("%s has %d characters; at most %d are allowed", schema.Quote(name), len(name), MaxName)
	case name[0] == '.' || name[0] == '-':
		return fmt.Errorf("%s starts with %q; a name starts with a letter, a digit or _", schema.Quote(name), name[:1])
	}
	for _, c := range name {
		if !schema.NameChar(c) && !strings.ContainsRune(extra, c) {
			return fmt.Errorf("%s has the character %q; allowed are A-Z a-z 0-9 . _ -", schema.Quote(name), c)
		}
	}
	return nil
}

// Is reports whether name is a pattern.
func Is(name string) bool { return strings.Contains(name, "*") }

// Literals returns the number of characters of the pattern that are no *.
func Literals(pattern string) int { return len(pattern) - strings.Count(pattern, "*") }

// Match reports whether name matches pattern. The first match of the text between two stars is enough: a later one would
// leave less for the rest.
func Match(pattern, name string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == name
	}
	first, last := parts[0], parts[len(parts)-1]
	rest, ok := strings.CutPrefix(name, first)
	if !ok {
		return false
	}
	if rest, ok = strings.CutSuffix(rest, last); !ok {
		return false
	}
	for _, part := range parts[1 : len(parts)-1] {
		if _, rest, ok = strings.Cut(rest, part); !ok {
			return false
		}
	}
	return true
}
