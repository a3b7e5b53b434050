package config

import (
	"fmt"
	"strings"
)

// list is a setting of strings. wrong returns the fault of one string, or "".
func list[T any](name, allowed string, field func(*T) *[]string, wrong func(string) string) setting[T] {
	show := func(into *T) string { return strings.ReplaceAll(fmt.Sprintf("%q", *field(into)), `" "`, `", "`) }
	return setting[T]{name: name, allowed: allowed, kind: "list", show: show, read: func(v value, into *T) bool {
		elements, ok := v.elements()
		if !ok {
			return false
		}
		var all []string
		for _, e := range elements {
			s, ok := e.text()
			if !ok {
				return false
			}
			if w := wrong(s); w != "" {
				return e.reject(quote(s) + " " + w)
			}
			all = append(all, s)
		}
		*field(into) = all
		return true
	}}
}

// limiting is a list for which an empty list differs from none: it reads [] as an empty slice, not as nil.
func limiting[T any](name, allowed string, field func(*T) *[]string, wrong func(string) string) setting[T] {
	s := list(name, allowed, field, wrong)
	read := s.read
	s.read = func(v value, into *T) bool {
		ok := read(v, into)
		if ok && *field(into) == nil {
			*field(into) = []string{}
		}
		return ok
	}
	return s
}

// numbers is a setting of whole numbers from 0 to most.
func numbers[T any](name, allowed string, field func(*T) *[]int64, most int64) setting[T] {
	show := func(into *T) string { return strings.ReplaceAll(fmt.Sprint(*field(into)), " ", ", ") }
	return setting[T]{name: name, allowed: allowed, kind: "list", show: show, read: func(v value, into *T) bool {
		elements, ok := v.elements()
		if !ok {
			return false
		}
		var all []int64
		for _, e := range elements {
			n, ok := e.number()
			if !ok || n < 0 || n > most {
				return e.reject(fmt.Sprintf("%s is no whole number from 0 to %d", e.source(), most))
			}
			all = append(all, n)
		}
		*field(into) = all
		return true
	}}
}
