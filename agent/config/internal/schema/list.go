package schema

import (
	"fmt"
	"strings"
)

// Strings is a setting of strings. wrong returns the fault of one string, or "".
func Strings[T any](name, allowed string, field func(*T) *[]string, wrong func(string) string) Setting[T] {
	show := func(into *T) string { return strings.ReplaceAll(fmt.Sprintf("%q", *field(into)), `" "`, `", "`) }
	return Setting[T]{Name: name, Allowed: allowed, Kind: "list", Show: show, Read: func(v Value, into *T) bool {
		elements, ok := v.Elements()
		if !ok {
			return false
		}
		var all []string
		for _, e := range elements {
			s, ok := e.Text()
			if !ok {
				return false
			}
			if w := wrong(s); w != "" {
				return e.Reject(Quote(s) + " " + w)
			}
			all = append(all, s)
		}
		*field(into) = all
		return true
	}}
}

// List is a list of strings in one comparable value. The strings have no line breaks.
type List string

// ListOf returns the list of the values.
func ListOf(values ...string) List { return List(strings.Join(values, "\n")) }

// Values returns the strings of the list; nil if it is empty.
func (l List) Values() []string {
	if l == "" {
		return nil
	}
	return strings.Split(string(l), "\n")
}

// Joined is a list that is stored as a List. Each string may stand once.
func Joined[T any](name, allowed string, field func(*T) *List, wrong func(string) string) Setting[T] {
	show := func(into *T) string {
		return strings.ReplaceAll(fmt.Sprintf("%q", field(into).Values()), `" "`, `", "`)
	}
	return Setting[T]{Name: name, Allowed: allowed, Kind: "list", Show: show, Read: func(v Value, into *T) bool {
		var values []string
		seen := map[string]bool{}
		once := func(s string) string {
			if seen[s] {
				return "is given twice"
			}
			seen[s] = true
			return wrong(s)
		}
		l := Strings(name, allowed, func(*T) *[]string { return &values }, once)
		if !l.Read(v, into) {
			return false
		}
		*field(into) = ListOf(values...)
		return true
	}}
}

// Limiting is a list for which an empty list differs from none: it reads [] as an empty slice, not as nil.
func Limiting[T any](name, allowed string, field func(*T) *[]string, wrong func(string) string) Setting[T] {
	s := Strings(name, allowed, field, wrong)
	read := s.Read
	s.Read = func(v Value, into *T) bool {
		ok := read(v, into)
		if ok && *field(into) == nil {
			*field(into) = []string{}
		}
		return ok
	}
	return s
}

// Numbers is a setting of whole numbers from 0 to most.
func Numbers[T any](name, allowed string, field func(*T) *[]int64, most int64) Setting[T] {
	show := func(into *T) string { return strings.ReplaceAll(fmt.Sprint(*field(into)), " ", ", ") }
	return Setting[T]{Name: name, Allowed: allowed, Kind: "list", Show: show, Read: func(v Value, into *T) bool {
		elements, ok := v.Elements()
		if !ok {
			return false
		}
		var all []int64
		for _, e := range elements {
			n, ok := e.number()
			if !ok || n < 0 || n > most {
				return e.Reject(fmt.Sprintf("%s is no whole number from 0 to %d", e.source(), most))
			}
			all = append(all, n)
		}
		*field(into) = all
		return true
	}}
}
