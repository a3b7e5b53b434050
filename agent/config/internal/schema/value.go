package schema

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

// Value is the expression of one setting during reading.
type Value struct {
	Block   *Block
	name    string
	allowed string
	marks   []string // the names that it may contain as ${name}, or as ${name[N]} for "name[N]", which stay in the text
	expr    hclsyntax.Expression
}

func (v Value) Pos() Pos { return posOf(v.expr.Range()) }

// Reject adds a fault and returns false.
func (v Value) Reject(wrong string) bool {
	v.Block.Fault(v.Pos(), "%s: %s; allowed is %s", v.name, wrong, v.allowed)
	return false
}

// Text reads a string in quotes.
func (v Value) Text() (string, bool) {
	var parts []hclsyntax.Expression
	switch e := v.expr.(type) {
	case *hclsyntax.TemplateExpr:
		parts = e.Parts
	case *hclsyntax.TemplateWrapExpr:
		parts = []hclsyntax.Expression{e.Wrapped}
	default:
		return "", v.rejectBare()
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
		return "", v.Reject(Quote(s) + " has a control character or a line break")
	}
	return s, true
}

// part reads plain text or an interpolation.
func (v Value) part(e hclsyntax.Expression) (string, bool) {
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
	v.Block.Fault(posOf(e.Range()), "%s: an expression is not evaluated; allowed is plain text in quotes", v.name)
	return "", false
}

func (v Value) variable(e *hclsyntax.ScopeTraversalExpr) (string, bool) {
	name := e.Traversal.RootName()
	plain := len(e.Traversal) == 1
	switch {
	case len(e.Traversal) == 2 && slices.Contains(v.marks, name+"[N]"):
		if index, ok := indexOf(e.Traversal[1]); ok {
			return fmt.Sprintf("${%s[%d]}", name, index), true
		}
		v.Block.Fault(posOf(e.Range()), "%s: ${%s[...]} has no index; allowed is a number, like ${%s[0]}", v.name, name, name)
	case plain && slices.Contains(v.marks, name):
		return "${" + name + "}", true
	case plain && v.Block.r.places[name] != "":
		v.Block.Fault(posOf(e.Range()), "%s: ${%s} is unknown here; it is allowed in %s", v.name, name, v.Block.r.places[name])
	default:
		allowed := ""
		for _, mark := range v.marks {
			allowed += "${" + mark + "}, "
		}
		v.Block.Fault(posOf(e.Range()), "%s: unknown variable %s; allowed is %s%s", v.name, Quote(name), allowed, allowedEnvironment)
	}
	return "", false
}

// indexOf returns the number within the brackets of ${name[N]}.
func indexOf(step hcl.Traverser) (int64, bool) {
	key, ok := step.(hcl.TraverseIndex)
	if !ok || key.Key.Type() != cty.Number || !key.Key.IsKnown() {
		return 0, false
	}
	n, exact := key.Key.AsBigFloat().Int64()
	return n, exact == big.Exact && n >= 0
}

// rejectBare adds a fault for an expression that is not a string in quotes, and returns false.
func (v Value) rejectBare() bool {
	call, isCall := v.expr.(*hclsyntax.FunctionCallExpr)
	word, isWord := v.expr.(*hclsyntax.ScopeTraversalExpr)
	if isCall && call.Name == "env" || isWord && word.Traversal.RootName() == "env" {
		v.Block.Fault(v.Pos(), "%s: %s is not in quotes; allowed is \"${%s}\"", v.name, v.source(), v.source())
		return false
	}
	return v.Reject(v.bare())
}

// bare describes an expression that is not a string in quotes.
func (v Value) bare() string {
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
	case *hclsyntax.FunctionCallExpr:
		kind = "a function"
	}
	return fmt.Sprintf("%s is %s, not a string in quotes", v.source(), kind)
}

// Elements reads a list.
func (v Value) Elements() ([]Value, bool) {
	list, ok := v.expr.(*hclsyntax.TupleConsExpr)
	if !ok {
		return nil, v.Reject(v.source() + " is no list")
	}
	elements := make([]Value, len(list.Exprs))
	for i, e := range list.Exprs {
		elements[i] = v
		elements[i].expr = e
	}
	return elements, true
}

// pair is one name = value of an object.
type pair struct {
	Key, Value string
	At         Value // the value's expression
}

// Pairs reads an object of strings.
func (v Value) Pairs() ([]pair, bool) {
	object, ok := v.expr.(*hclsyntax.ObjectConsExpr)
	if !ok {
		return nil, v.Reject(v.source() + " is no object")
	}
	var pairs []pair
	for _, item := range object.Items {
		p := pair{At: v}
		p.At.expr = item.ValueExpr
		if p.Key = hcl.ExprAsKeyword(item.KeyExpr); p.Key == "" {
			key := v
			key.expr = item.KeyExpr
			if wrapped, ok := item.KeyExpr.(*hclsyntax.ObjectConsKeyExpr); ok {
				key.expr = wrapped.Wrapped
			}
			if p.Key, ok = key.Text(); !ok {
				return nil, false
			}
		}
		if p.Value, ok = p.At.Text(); !ok {
			return nil, false
		}
		pairs = append(pairs, p)
	}
	return pairs, true
}

// number reads a whole number.
func (v Value) number() (int64, bool) {
	e, ok := v.expr.(*hclsyntax.LiteralValueExpr)
	if !ok || e.Val.Type() != cty.Number || e.Val.IsNull() {
		return 0, false
	}
	n, accuracy := e.Val.AsBigFloat().Int64()
	return n, accuracy == big.Exact
}

// Flag reads true or false.
func (v Value) Flag() (on, ok bool) {
	e, literal := v.expr.(*hclsyntax.LiteralValueExpr)
	if !literal || e.Val.Type() != cty.Bool || e.Val.IsNull() {
		return false, false
	}
	return e.Val.True(), true
}

// source returns the expression's text in the file, cut to 40 characters.
func (v Value) source() string {
	r := v.expr.Range()
	const most = 40
	text := []rune(strings.Join(strings.Fields(string(v.Block.r.texts[r.Filename][r.Start.Byte:r.End.Byte])), " "))
	if len(text) > most {
		return string(text[:most]) + "..."
	}
	return string(text)
}

// Text is a setting of a string. wrong returns its fault, or "".
func Text[T any](name, allowed string, field func(*T) *string, wrong func(string) string) Setting[T] {
	show := func(into *T) string {
		if s := *field(into); s != "" || wrong(s) == "" {
			return strconv.Quote(s)
		}
		return None
	}
	return Setting[T]{Name: name, Allowed: allowed, Kind: "string", Show: show, Read: func(v Value, into *T) bool {
		s, ok := v.Text()
		if !ok {
			return false
		}
		if w := wrong(s); w != "" {
			return v.Reject(Quote(s) + " " + w)
		}
		*field(into) = s
		return true
	}}
}

// MayContain returns s as a setting whose text may contain ${name} for these names, and ${name[N]} for "name[N]".
func (s Setting[T]) MayContain(names ...string) Setting[T] {
	read := s.Read
	s.marks = names
	s.Read = func(v Value, into *T) bool {
		v.marks = names
		return read(v, into)
	}
	return s
}

// Warns returns s with a warning for valid texts for which odd returns the reason.
func (s Setting[T]) Warns(odd func(string) string) Setting[T] {
	read := s.Read
	s.Read = func(v Value, into *T) bool {
		if !read(v, into) {
			return false
		}
		v.marks = s.marks
		if text, ok := v.Text(); ok && odd(text) != "" {
			v.Block.Warn(v.Pos(), "%s: %s %s", v.name, Quote(text), odd(text))
		}
		return true
	}
	return s
}

func Anything(string) string { return "" }

func NotEmpty(s string) string {
	if strings.TrimSpace(s) == "" {
		return "is empty"
	}
	return ""
}

// Word is a setting with one of a few words.
func Word[T any](name string, field func(*T) *string, words ...string) Setting[T] {
	s := Text(name, either(words), field, func(s string) string {
		if slices.Contains(words, s) {
			return ""
		}
		return "is unknown"
	})
	s.Kind = "word"
	return s
}

// Flag is a setting of true or false.
func Flag[T any](name string, field func(*T) *bool) Setting[T] {
	show := func(into *T) string { return strconv.FormatBool(*field(into)) }
	return Setting[T]{Name: name, Allowed: "true or false, without quotes", Kind: "flag", Show: show, Read: func(v Value, into *T) bool {
		on, ok := v.Flag()
		if !ok {
			return v.Reject(v.source() + " is neither true nor false")
		}
		*field(into) = on
		return true
	}}
}

// Size is a setting of least to most bytes; most 0: no limit.
func Size[T any](name, example string, field func(*T) *int64, least, most int64) Setting[T] {
	allowed := fmt.Sprintf("a size of %s or more, like %q", SizeText(least), example)
	if most > 0 {
		allowed = fmt.Sprintf("a size from %s to %s, like %q", SizeText(least), SizeText(most), example)
	}
	show := func(into *T) string { return quotedOrNone(*field(into), SizeText) }
	return Setting[T]{Name: name, Allowed: allowed, Kind: "size", Show: show, Read: func(v Value, into *T) bool {
		s, ok := v.Text()
		if !ok {
			return false
		}
		n, wrong := ParseSize(s)
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
		return v.Reject(Quote(s) + " " + wrong)
	}}
}

// quotedNumber reports whether the source is a whole number in quotes.
func quotedNumber(source string) bool {
	text, err := strconv.Unquote(source)
	if err != nil {
		return false
	}
	_, err = strconv.ParseInt(text, 10, 64)
	return err == nil
}

// Count is a setting of a whole number.
func Count[T any](name, example string, field func(*T) *int64, least, most int64) Setting[T] {
	allowed := fmt.Sprintf("a whole number from %d to %d without quotes, like %s", least, most, example)
	show := func(into *T) string { return strconv.FormatInt(*field(into), 10) }
	return Setting[T]{Name: name, Allowed: allowed, Kind: "number", Show: show, Read: func(v Value, into *T) bool {
		n, ok := v.number()
		switch {
		case !ok && quotedNumber(v.source()):
			return v.Reject(v.source() + " is in quotes")
		case !ok:
			return v.Reject(v.source() + " is no whole number")
		case n < least:
			return v.Reject(v.source() + " is too low")
		case n > most:
			return v.Reject(v.source() + " is too high")
		}
		*field(into) = n
		return true
	}}
}

// Share is a setting of a decimal number without quotes, over 0 and at most 1.
func Share[T any](name string, field func(*T) *float64) Setting[T] {
	allowed := "a decimal number over 0 and at most 1 without quotes, like 0.1"
	show := func(into *T) string { return strconv.FormatFloat(*field(into), 'g', -1, 64) }
	return Setting[T]{Name: name, Allowed: allowed, Kind: "number", Show: show, Read: func(v Value, into *T) bool {
		e, ok := v.expr.(*hclsyntax.LiteralValueExpr)
		if !ok || e.Val.Type() != cty.Number || e.Val.IsNull() {
			return v.Reject(v.source() + " is no such number")
		}
		n, _ := e.Val.AsBigFloat().Float64()
		if !(n > 0 && n <= 1) {
			return v.Reject(v.source() + " is no such number")
		}
		*field(into) = n
		return true
	}}
}

// ParseSize returns the number of bytes in s, or its fault.
func ParseSize(s string) (n int64, wrong string) {
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

// SizeText formats n bytes in the largest unit without a fraction.
func SizeText(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB"}
	i := 0
	for ; n > 0 && n%1024 == 0 && i < len(units)-1; i++ {
		n /= 1024
	}
	return strconv.FormatInt(n, 10) + units[i]
}

// Duration is a setting of a duration of at least least.
func Duration[T any](name, example string, field func(*T) *time.Duration, least time.Duration) Setting[T] {
	allowed := fmt.Sprintf("a duration of %s or more, like %q", DurationText(least), example)
	show := func(into *T) string { return strconv.Quote(DurationText(*field(into))) }
	return Setting[T]{Name: name, Allowed: allowed, Kind: "duration", Show: show, Read: func(v Value, into *T) bool {
		s, ok := v.Text()
		if !ok {
			return false
		}
		d, wrong := parseDuration(s)
		if wrong == "" && d < least {
			wrong = "is too short"
		}
		if wrong != "" {
			return v.Reject(Quote(s) + " " + wrong)
		}
		*field(into) = d
		return true
	}}
}

// DurationText formats a duration without parts that are zero.
func DurationText(d time.Duration) string {
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
		return None
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

// Mode is a setting of file permissions.
func Mode[T any](name string, field func(*T) *os.FileMode) Setting[T] {
	allowed := `permissions in octal from "0000" to "0777", like "0660"`
	show := func(into *T) string { return fmt.Sprintf("%q", fmt.Sprintf("%04o", *field(into))) }
	return Setting[T]{Name: name, Allowed: allowed, Kind: "mode", Show: show, Read: func(v Value, into *T) bool {
		s, ok := v.Text()
		if !ok {
			return false
		}
		bits, err := strconv.ParseUint(s, 8, 32)
		if err != nil || bits > 0o777 || len(s) < 3 || len(s) > 4 {
			return v.Reject(Quote(s) + " is no file mode")
		}
		*field(into) = os.FileMode(bits)
		return true
	}}
}

// Address is a setting of host:port or unix:///path.
func Address[T any](name string, field func(*T) (network, address *string)) Setting[T] {
	allowed := `host:port with a port from 0 to 65535, like "127.0.0.1:7710", or "unix:///run/standpipe/events.sock"`
	show := func(into *T) string {
		_, address := field(into)
		return strconv.Quote(*address)
	}
	return Setting[T]{Name: name, Allowed: allowed, Kind: "address", Show: show, Read: func(v Value, into *T) bool {
		s, ok := v.Text()
		if !ok {
			return false
		}
		network, address, wrong := ParseAddress(s)
		if wrong != "" {
			return v.Reject(Quote(s) + " " + wrong)
		}
		n, a := field(into)
		*n, *a = network, address
		return true
	}}
}

func ParseAddress(s string) (network, address, wrong string) {
	if path, ok := strings.CutPrefix(s, "unix://"); ok {
		return "unix", path, WrongSocketPath(path)
	}
	host, port, err := net.SplitHostPort(s)
	switch {
	case err == nil:
	case strings.Contains(s, "://"):
		return "", "", "is a URL"
	case s != "" && strings.Trim(s, "0123456789") == "":
		return "", "", "is a port without a host"
	case s != "" && ValidHost(s):
		return "", "", "has no port"
	default:
		return "", "", "is no address"
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", "", "has no such port"
	}
	if !ValidHost(host) {
		return "", "", "has no valid host"
	}
	return "tcp", s, ""
}

func WrongSocketPath(path string) string {
	switch {
	case !strings.HasPrefix(path, "/") || strings.HasSuffix(path, "/"):
		return "has no absolute path of a file"
	case len(path) > maxSocketPath:
		return fmt.Sprintf("has a path of %d bytes, and a socket's has at most %d", len(path), maxSocketPath)
	}
	return ""
}

// ValidHost accepts an IP address, a host name, and the empty host, which means all addresses of this host.
func ValidHost(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return !strings.ContainsFunc(host, func(c rune) bool { return !NameChar(c) })
}

// NameChar reports whether c is one of A-Z a-z 0-9 . _ -
func NameChar(c rune) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return c == '.' || c == '_' || c == '-'
}
