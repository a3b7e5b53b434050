package schema

import (
	"math"
	"strconv"
)

const mostPrice = 1e6

// Price is a setting of a decimal number in quotes; empty: none.
func Price[T any](name string, field func(*T) *float64) Setting[T] {
	allowed := `a decimal number over 0 in quotes, like "0.029", or "" for none`
	show := func(into *T) string { return `""` }
	return Setting[T]{Name: name, Allowed: allowed, Kind: "price", Show: show, Read: func(v Value, into *T) bool {
		s, ok := v.Text()
		if !ok || s == "" {
			return ok
		}
		n, err := strconv.ParseFloat(s, 64)
		if err != nil || math.IsNaN(n) || n <= 0 || n > mostPrice {
			return v.Reject(Quote(s) + " is no price")
		}
		*field(into) = n
		return true
	}}
}
