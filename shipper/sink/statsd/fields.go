package statsd

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"
)

// fields finds the values of some fields in a JSON object.
type fields struct {
	root   *field
	values [][]byte // by the index of the field; empty: the event has no such value
}

// field is a name in the tree of the wanted names.
type field struct {
	children map[string]*field
	index    int // of its value; -1: only its children are wanted
}

// newFields returns the finder of the fields with these paths.
func newFields(paths ...string) *fields {
	f := &fields{root: &field{index: -1}, values: make([][]byte, len(paths))}
	for i, path := range paths {
		if path == "" {
			continue
		}
		at := f.root
		for name := range strings.SplitSeq(path, ".") {
			next := at.children[name]
			if next == nil {
				next = &field{index: -1}
				if at.children == nil {
					at.children = make(map[string]*field)
				}
				at.children[name] = next
			}
			at = next
		}
		at.index = i
	}
	return f
}

// read sets values to those of an event. It reports whether the event is a JSON object. Strings, numbers and booleans are
// values; a value is valid until data changes.
func (f *fields) read(data []byte) bool {
	clear(f.values)
	if !json.Valid(data) {
		return false
	}
	c := cursor{data: data}
	c.space()
	if c.data[c.at] != '{' {
		return false
	}
	f.object(&c, f.root)
	return true
}

// object reads the object at the cursor, whose members are the children of at.
func (f *fields) object(c *cursor, at *field) {
	for c.at++; ; {
		c.space()
		switch c.data[c.at] {
		case '}':
			c.at++
			return
		case ',':
			c.at++
			continue
		}
		name := c.text()
		c.space()
		c.at++ // the colon
		c.space()
		child := at.children[string(name)] // does not allocate
		switch {
		case child == nil:
			c.skip()
		case c.data[c.at] == '{' && child.children != nil:
			f.object(c, child)
		case child.index < 0:
			c.skip()
		default:
			f.values[child.index] = c.value()
		}
	}
}

// cursor is a place in valid JSON.
type cursor struct {
	data []byte
	at   int
}

func (c *cursor) space() {
	for c.at < len(c.data) {
		switch c.data[c.at] {
		case ' ', '\t', '\r', '\n':
			c.at++
		default:
			return
		}
	}
}

// text reads the string at the cursor.
func (c *cursor) text() []byte {
	start := c.at + 1
	escaped := false
	for c.at = start; c.data[c.at] != '"'; c.at++ {
		if c.data[c.at] == '\\' {
			escaped = true
			c.at++
		}
	}
	c.at++
	if !escaped {
		return c.data[start : c.at-1]
	}
	var s string
	if json.Unmarshal(c.data[start-1:c.at], &s) != nil {
		return nil
	}
	return []byte(s)
}

// value reads the value at the cursor: a string, a number or a boolean; of anything else the result is nil.
func (c *cursor) value() []byte {
	switch c.data[c.at] {
	case '"':
		return c.text()
	case '{', '[', 'n':
		c.skip()
		return nil
	}
	start := c.at
	c.skip()
	return c.data[start:c.at]
}

// skip passes the value at the cursor.
func (c *cursor) skip() {
	switch c.data[c.at] {
	case '"':
		for c.at++; c.data[c.at] != '"'; c.at++ {
			if c.data[c.at] == '\\' {
				c.at++
			}
		}
		c.at++
	case '{', '[':
		for depth := 0; ; {
			switch c.data[c.at] {
			case '"':
				c.skip()
				continue
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			}
			if c.at++; depth == 0 {
				return
			}
		}
	default:
		n := bytes.IndexAny(c.data[c.at:], ",]} \t\r\n")
		if n < 0 {
			n = len(c.data) - c.at
		}
		c.at += n
	}
}

// number returns the value of a number, also of one in a string.
func number(b []byte) (float64, bool) {
	v, err := strconv.ParseFloat(string(b), 64)
	return v, err == nil && v-v == 0 // no infinity, no NaN
}

const (
	maxName = 200 // of a value in the name of a metric
	maxTag  = 100 // of the value of a tag
)

// clean replaces characters that would break a line, and cuts s to most bytes.
func clean(s string, most int, dots bool) string {
	if len(s) <= most && strings.IndexFunc(s, func(r rune) bool { return !allowed(r, dots) }) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if !allowed(r, dots) {
			r = '_'
		}
		if b.Len()+utf8.RuneLen(r) > most {
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}

// head returns the part of b that clean reads if it cuts b to most bytes.
func head(b []byte, most int) []byte { return b[:min(len(b), most*utf8.UTFMax)] }

func allowed(r rune, dots bool) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' || r == '.' && dots
}
