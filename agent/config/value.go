package config

import (
	"fmt"
	"math"
	"math/big"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/dustin/go-humanize"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

const (
	// maxSocketPath is the size of sun_path without its closing zero: unix(7).
	maxSocketPath = 107
)

// value is the expression of one setting during reading.
type value struct {
	b       *block
	name    string
	allowed string
	marks   []string // the names that it may contain as ${name}, which stay in the text
	expr    hclsyntax.Expression
}

func (v value) pos() Pos { return posOf(v.expr.Range()) }

// reject adds a fault and returns false.
func (v value) reject(wrong string) bool {
	v.b.fault(v.pos(), "%s: %s; allowed is %s", v.name, wrong, v.allowed)
	return false
}

// text reads a string in quotes.
func (v value) text() (string, bool) {
	var parts []hclsyntax.Expression
	switch e := v.expr.(type) {
	case *hclsyntax.TemplateExpr:
		parts = e.Parts
	case *hclsyntax.TemplateWrapExpr:
		parts = []hclsyntax.Expression{e.Wrapped}
	default:
		return "", v.reject(v.bare())
	}
	var text strings.Builder
	for _, part := range parts {
		s, ok := v.part(part)
		if !ok {
			return "", false
		}
		text.WriteString(s)
	}
	s := text.String()
	if strings.ContainsFunc(s, unicode.IsControl) {
		return "", v.reject(quote(s) + " has a control character or a line break")
	}
	return s, true
}

// part reads plain text or an interpolation.
func (v value) part(e hclsyntax.Expression) (string, bool) {
	switch e := e.(type) {
	case *hclsyntax.LiteralValueExpr:
		if e.Val.Type() == cty.String && !e.Val.IsNull() {
			return e.Val.AsString(), true
		}
	case *hclsyntax.ScopeTraversalExpr:
		if e.Traversal.RootName() == "env" {
			return v.environment(e)
		}
		return v.variable(e)
	case *hclsyntax.FunctionCallExpr:
		if e.Name == "env" {
			return v.environmentOr(e)
		}
	}
	v.b.fault(posOf(e.Range()), "%s: an expression is not evaluated; allowed is plain text in quotes", v.name)
	return "", false
}

func (v value) variable(e *hclsyntax.ScopeTraversalExpr) (string, bool) {
	name := e.Traversal.RootName()
	plain := len(e.Traversal) == 1
	switch {
	case plain && slices.Contains(v.marks, name):
		return "${" + name + "}", true
	case plain && v.b.r.places[name] != "":
		v.b.fault(posOf(e.Range()), "%s: ${%s} is unknown here; it is allowed in %s", v.name, name, v.b.r.places[name])
	default:
		allowed := ""
		for _, mark := range v.marks {
			allowed += "${" + mark + "}, "
		}
		v.b.fault(posOf(e.Range()), "%s: unknown variable %s; allowed is %s%s", v.name, quote(name), allowed, allowedEnvironment)
	}
	return "", false
}

// bare describes an expression that is not a string in quotes.
func (v value) bare() string {
	kind := "an expression"
	switch e := v.expr.(type) {
	case *hclsyntax.LiteralValueExpr:
		kind = map[cty.Type]string{cty.Number: "a bare number", cty.Bool: "a bare word"}[e.Val.Type()]
		if e.Val.IsNull() {
			kind = "no value"
		}
	case *hclsyntax.UnaryOpExpr:
		kind = "a bare number"
	case *hclsyntax.ScopeTraversalExpr:
		kind = "a bare word"
	case *hclsyntax.TupleConsExpr:
		kind = "a list"
	case *hclsyntax.ObjectConsExpr:
		kind = "an object"
	}
	return fmt.Sprintf("%s is %s, not a string in quotes", v.source(), kind)
}

// elements reads a list.
func (v value) elements() ([]value, bool) {
	list, ok := v.expr.(*hclsyntax.TupleConsExpr)
	if !ok {
		return nil, v.reject(v.source() + " is no list")
	}
	elements := make([]value, len(list.Exprs))
	for i, e := range list.Exprs {
		elements[i] = v
		elements[i].expr = e
	}
	return elements, true
}

// pair is one name = value of an object.
type pair struct {
	key, value string
	at         value // the value's expression
}

// pairs reads an object of strings.
func (v value) pairs() ([]pair, bool) {
	object, ok := v.expr.(*hclsyntax.ObjectConsExpr)
	if !ok {
		return nil, v.reject(v.source() + " is no object")
	}
	var pairs []pair
	for _, item := range object.Items {
		p := pair{at: v}
		p.at.expr = item.ValueExpr
		if p.key = hcl.ExprAsKeyword(item.KeyExpr); p.key == "" {
			key := v
			key.expr = item.KeyExpr
			if wrapped, ok := item.KeyExpr.(*hclsyntax.ObjectConsKeyExpr); ok {
				key.expr = wrapped.Wrapped
			}
			if p.key, ok = key.text(); !ok {
				return nil, false
			}
		}
		if p.value, ok = p.at.text(); !ok {
			return nil, false
		}
		pairs = append(pairs, p)
	}
	return pairs, true
}

// number reads a whole number.
func (v value) number() (int64, bool) {
	e, ok := v.expr.(*hclsyntax.LiteralValueExpr)
	if !ok || e.Val.Type() != cty.Number || e.Val.IsNull() {
		return 0, false
	}
	n, accuracy := e.Val.AsBigFloat().Int64()
	return n, accuracy == big.Exact
}

// flag reads true or false.
func (v value) flag() (on, ok bool) {
	e, literal := v.expr.(*hclsyntax.LiteralValueExpr)
	if !literal || e.Val.Type() != cty.Bool || e.Val.IsNull() {
		return false, false
	}
	return e.Val.True(), true
}

// source returns the expression's text in the file, cut to 40 characters.
func (v value) source() string {
	r := v.expr.Range()
	const most = 40
	text := []rune(strings.Join(strings.Fields(string(v.b.r.sources[r.Filename][r.Start.Byte:r.End.Byte])), " "))
	if len(text) > most {
		return string(text[:most]) + "..."
	}
	return string(text)
}

// text is a setting of a string. wrong returns its fault, or "".
func text[T any](name, allowed string, field func(*T) *string, wrong func(string) string) setting[T] {
	show := func(into *T) string {
		if s := *field(into); s != "" || wrong(s) == "" {
			return strconv.Quote(s)
		}
		return none
	}
	return setting[T]{name: name, allowed: allowed, kind: "string", show: show, read: func(v value, into *T) bool {
		s, ok := v.text()
		if !ok {
			return false
		}
		if w := wrong(s); w != "" {
			return v.reject(quote(s) + " " + w)
		}
		*field(into) = s
		return true
	}}
}

// mayContain returns s as a setting whose text may contain ${name} for these names.
func (s setting[T]) mayContain(names ...string) setting[T] {
	read := s.read
	s.read = func(v value, into *T) bool {
		v.marks = names
		return read(v, into)
	}
	return s
}

func anything(string) string { return "" }

func notEmpty(s string) string {
	if strings.TrimSpace(s) == "" {
		return "is empty"
	}
	return ""
}

// word is a setting with one of a few words.
func word[T any](name string, field func(*T) *string, words ...string) setting[T] {
	s := text(name, either(words), field, func(s string) string {
		if slices.Contains(words, s) {
			return ""
		}
		return "is unknown"
	})
	s.kind = "word"
	return s
}

// flag is a setting of true or false.
func flag[T any](name string, field func(*T) *bool) setting[T] {
	show := func(into *T) string { return strconv.FormatBool(*field(into)) }
	return setting[T]{name: name, allowed: "true or false, without quotes", kind: "flag", show: show, read: func(v value, into *T) bool {
		on, ok := v.flag()
		if !ok {
			return v.reject(v.source() + " is neither true nor false")
		}
		*field(into) = on
		return true
	}}
}

// size is a setting of least to most bytes; most 0: no limit.
func size[T any](name, example string, field func(*T) *int64, least, most int64) setting[T] {
	allowed := fmt.Sprintf("a size of %s or more, like %q", sizeText(least), example)
	if most > 0 {
		allowed = fmt.Sprintf("a size from %s to %s, like %q", sizeText(least), sizeText(most), example)
	}
	show := func(into *T) string { return quotedOrNone(*field(into), sizeText) }
	return setting[T]{name: name, allowed: allowed, kind: "size", show: show, read: func(v value, into *T) bool {
		s, ok := v.text()
		if !ok {
			return false
		}
		n, wrong := parseSize(s)
		switch {
		case wrong != "":
		case n < least:
			wrong = "is too small"
		case most > 0 && n > most:
			wrong = "is too large"
		default:
			*field(into) = n
			return true
		}
		return v.reject(quote(s) + " " + wrong)
	}}
}

// count is a setting of a whole number.
func count[T any](name, example string, field func(*T) *int64, least, most int64) setting[T] {
	allowed := fmt.Sprintf("a whole number from %d to %d without quotes, like %s", least, most, example)
	show := func(into *T) string { return strconv.FormatInt(*field(into), 10) }
	return setting[T]{name: name, allowed: allowed, kind: "number", show: show, read: func(v value, into *T) bool {
		n, ok := v.number()
		if !ok || n < least || n > most {
			return v.reject(v.source() + " is no such number")
		}
		*field(into) = n
		return true
	}}
}

// share is a setting of a decimal number without quotes, over 0 and at most 1.
func share[T any](name string, field func(*T) *float64) setting[T] {
	allowed := "a decimal number over 0 and at most 1 without quotes, like 0.1"
	show := func(into *T) string { return strconv.FormatFloat(*field(into), 'g', -1, 64) }
	return setting[T]{name: name, allowed: allowed, kind: "number", show: show, read: func(v value, into *T) bool {
		e, ok := v.expr.(*hclsyntax.LiteralValueExpr)
		if !ok || e.Val.Type() != cty.Number || e.Val.IsNull() {
			return v.reject(v.source() + " is no such number")
		}
		n, _ := e.Val.AsBigFloat().Float64()
		if !(n > 0 && n <= 1) {
			return v.reject(v.source() + " is no such number")
		}
		*field(into) = n
		return true
	}}
}

// parseSize returns the number of bytes in s, or its fault.
func parseSize(s string) (n int64, wrong string) {
	trimmed := strings.TrimSpace(s)
	if strings.HasPrefix(trimmed, "-") {
		return 0, "is negative"
	}
	// ParseBytes ignores commas: "1,5GiB" would be 15 GiB
	bytes, err := humanize.ParseBytes(trimmed)
	switch {
	case trimmed == "" || strings.ContainsRune(trimmed, ',') || err != nil && !strings.HasPrefix(err.Error(), "too large"):
		return 0, "is no size"
	case err != nil || bytes > math.MaxInt64:
		return 0, "is too large"
	case !strings.ContainsFunc(trimmed, unicode.IsLetter):
		return 0, "has no unit"
	}
	return int64(bytes), ""
}

// sizeText formats n bytes in the largest unit without a fraction.
func sizeText(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB"}
	i := 0
	for ; n > 0 && n%1024 == 0 && i < len(units)-1; i++ {
		n /= 1024
	}
	return strconv.FormatInt(n, 10) + units[i]
}

// duration is a setting of a duration of at least least.
func duration[T any](name, example string, field func(*T) *time.Duration, least time.Duration) setting[T] {
	allowed := fmt.Sprintf("a duration of %v or more, like %q", least, example)
	show := func(into *T) string { return strconv.Quote(durationText(*field(into))) }
	return setting[T]{name: name, allowed: allowed, kind: "duration", show: show, read: func(v value, into *T) bool {
		s, ok := v.text()
		if !ok {
			return false
		}
		d, wrong := parseDuration(s)
		if wrong == "" && d < least {
			wrong = "is too short"
		}
		if wrong != "" {
			return v.reject(quote(s) + " " + wrong)
		}
		*field(into) = d
		return true
	}}
}

// durationText formats a duration without parts that are zero.
func durationText(d time.Duration) string {
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = strings.TrimSuffix(text, zero[1:])
		}
	}
	return text
}

// quotedOrNone formats n in quotes, and 0 as none.
func quotedOrNone(n int64, format func(int64) string) string {
	if n == 0 {
		return none
	}
	return strconv.Quote(format(n))
}

func parseDuration(s string) (d time.Duration, wrong string) {
	trimmed := strings.TrimSpace(s)
	d, err := time.ParseDuration(trimmed)
	switch {
	case err == nil && d < 0:
		return 0, "is negative"
	case err == nil:
		return d, ""
	}
	if _, err := strconv.ParseFloat(trimmed, 64); err == nil {
		return 0, "has no unit"
	}
	return 0, "is no duration (the units are ms, s, m and h)"
}

// mode is a setting of file permissions.
func mode[T any](name string, field func(*T) *os.FileMode) setting[T] {
	allowed := `permissions in octal from "0000" to "0777", like "0660"`
	show := func(into *T) string { return fmt.Sprintf("%q", fmt.Sprintf("%04o", *field(into))) }
	return setting[T]{name: name, allowed: allowed, kind: "mode", show: show, read: func(v value, into *T) bool {
		s, ok := v.text()
		if !ok {
			return false
		}
		bits, err := strconv.ParseUint(s, 8, 32)
		if err != nil || bits > 0o777 || len(s) < 3 || len(s) > 4 {
			return v.reject(quote(s) + " is no file mode")
		}
		*field(into) = os.FileMode(bits)
		return true
	}}
}

// address is a setting of host:port or unix:///path.
func address[T any](name string, field func(*T) (network, address *string)) setting[T] {
	allowed := `host:port with a port from 0 to 65535, like "127.0.0.1:7710", or "unix:///run/standpipe/events.sock"`
	show := func(into *T) string {
		_, address := field(into)
		return strconv.Quote(*address)
	}
	return setting[T]{name: name, allowed: allowed, kind: "address", show: show, read: func(v value, into *T) bool {
		s, ok := v.text()
		if !ok {
			return false
		}
		network, address, wrong := parseAddress(s)
		if wrong != "" {
			return v.reject(quote(s) + " " + wrong)
		}
		n, a := field(into)
		*n, *a = network, address
		return true
	}}
}

func parseAddress(s string) (network, address, wrong string) {
	if path, ok := strings.CutPrefix(s, "unix://"); ok {
		return "unix", path, wrongSocketPath(path)
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", "", "is no address"
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", "", "has no such port"
	}
	if !validHost(host) {
		return "", "", "has no valid host"
	}
	return "tcp", s, ""
}

func wrongSocketPath(path string) string {
	switch {
	case !strings.HasPrefix(path, "/") || strings.HasSuffix(path, "/"):
		return "has no absolute path of a file"
	case len(path) > maxSocketPath:
		return fmt.Sprintf("has a path of %d bytes, and a socket's has at most %d", len(path), maxSocketPath)
	}
	return ""
}

// validHost accepts an IP address, a host name, and the empty host, which means all addresses of this host.
func validHost(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return !strings.ContainsFunc(host, func(c rune) bool { return !nameChar(c) })
}

// nameChar reports whether c is one of A-Z a-z 0-9 . _ -
func nameChar(c rune) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return c == '.' || c == '_' || c == '-'
}
