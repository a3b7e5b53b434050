package schema

import (
	"fmt"
	"strconv"
	"strings"
)

// ByteRate is a setting of at least least bytes a second.
func ByteRate[T any](name, example string, field func(*T) *int64, least int64) Setting[T] {
	allowed := fmt.Sprintf("a rate of %s/s or more, like %q", SizeText(least), example)
	return rate(name, allowed, field, least, ParseSize, SizeText)
}

// CountRate is a setting of at least 1 a second.
func CountRate[T any](name, example string, field func(*T) *int64) Setting[T] {
	return rate(name, fmt.Sprintf("a rate of 1/s or more, like %q", example), field, 1, parseCount, func(n int64) string { return strconv.FormatInt(n, 10) })
}

func rate[T any](name, allowed string, field func(*T) *int64, least int64, parse func(string) (int64, string), format func(int64) string) Setting[T] {
	show := func(into *T) string {
		return quotedOrNone(*field(into), func(n int64) string { return format(n) + "/s" })
	}
	return Setting[T]{Name: name, Allowed: allowed, Kind: "rate", Show: show, Read: func(v Value, into *T) bool {
		s, ok := v.Text()
		if !ok {
			return false
		}
		amount, found := strings.CutSuffix(strings.TrimSpace(s), "/s")
		if !found {
			return v.Reject(Quote(s) + " does not end with /s")
		}
		n, wrong := parse(amount)
		if wrong == "" && n < least {
			wrong = "is too low"
		}
		if wrong != "" {
			return v.Reject(Quote(s) + " " + wrong)
		}
		*field(into) = n
		return true
	}}
}

// parseCount returns the whole number in s, or its fault.
func parseCount(s string) (n int64, wrong string) {
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	switch {
	case err == nil && n >= 0:
		return n, ""
	case err == nil:
		return 0, "is negative"
	case strings.Contains(err.Error(), "out of range"):
		return 0, "is too large"
	}
	return 0, "is no whole number a second"
}
