package config

import (
	"strconv"
	"strings"
)

// MinFree is the space of the file system of data_dir that is left to others: bytes, or a share of its size. The zero MinFree
// leaves none.
type MinFree struct {
	Bytes int64
	Share float64 // 0 to 1
}

// Of returns the bytes on a file system of that size.
func (m MinFree) Of(size int64) int64 {
	return max(m.Bytes, int64(m.Share*float64(size)))
}

// minFree is a setting of a size or a share.
func minFree[T any](name string, field func(*T) *MinFree) setting[T] {
	allowed := `a size or a share under 100%, like "1GiB" or "5%"`
	show := func(*T) string { return none }
	return setting[T]{name: name, allowed: allowed, kind: "size", show: show, read: func(v value, into *T) bool {
		s, ok := v.text()
		if !ok {
			return false
		}
		m, wrong := parseMinFree(s)
		if wrong != "" {
			return v.reject(quote(s) + " " + wrong)
		}
		*field(into) = m
		return true
	}}
}

func parseMinFree(s string) (m MinFree, wrong string) {
	percent, ok := strings.CutSuffix(strings.TrimSpace(s), "%")
	if !ok {
		m.Bytes, wrong = parseSize(s)
		return m, wrong
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(percent), 64)
	switch {
	case err != nil:
		return m, "is no share"
	case !(n >= 0 && n < 100):
		return m, "is no share under 100%"
	}
	return MinFree{Share: n / 100}, ""
}
