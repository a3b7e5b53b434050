package config

import (
	"strconv"
	"strings"

	"github.com/standpipe/standpipe/agent/config/internal/schema"
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
func minFree[T any](name string, field func(*T) *MinFree) schema.Setting[T] {
	allowed := `a size or a share under 100%, like "1GiB" or "5%"`
	show := func(into *T) string {
		switch m := *field(into); {
		case m.Share > 0:
			return schema.Quote(strconv.FormatFloat(m.Share*100, 'g', 6, 64) + "%")
		case m.Bytes > 0:
			return schema.Quote(schema.SizeText(m.Bytes))
		}
		return schema.None
	}
	return schema.Setting[T]{Name: name, Allowed: allowed, Kind: "size", Show: show, Read: func(v schema.Value, into *T) bool {
		s, ok := v.Text()
		if !ok {
			return false
		}
		m, wrong := parseMinFree(s)
		if wrong != "" {
			return v.Reject(schema.Quote(s) + " " + wrong)
		}
		*field(into) = m
		return true
	}}
}

func parseMinFree(s string) (m MinFree, wrong string) {
	percent, ok := strings.CutSuffix(strings.TrimSpace(s), "%")
	if !ok {
		m.Bytes, wrong = schema.ParseSize(s)
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
