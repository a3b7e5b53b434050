package schema

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/rivo/uniseg"
)

// redefined is HCL's summary for a duplicate setting. It is the only syntax error after which HCL reads the rest of the
// file.
const redefined = "Attribute redefined"

// syntax explains the syntax errors of one file.
type syntax struct {
	file   string
	src    []byte
	tokens hclsyntax.Tokens
}

// addSyntax adds the duplicate settings of a file and its first syntax error: later ones are mostly consequences of it.
func (f *faults) addSyntax(diags hcl.Diagnostics, src []byte, file string) {
	s := syntax{file: file, src: src}
	var first *hcl.Diagnostic
	for _, d := range diags {
		switch {
		case d.Severity != hcl.DiagError:
		case d.Summary == redefined:
			f.add(posOf(*d.Subject), "%s is given twice; a setting may stand once in its block", d.Subject.SliceBytes(src))
		case first == nil || d.Subject != nil && first.Subject != nil && d.Subject.Start.Byte < first.Subject.Start.Byte:
			first = d
		}
	}
	if first == nil {
		return
	}
	s.tokens, _ = hclsyntax.LexConfig(src, file, hcl.InitialPos)
	if fault, other := s.otherLanguage(); other {
		*f = append(*f, fault)
		return
	}
	*f = append(*f, s.explain(first))
}

// foreign are the beginnings of files in other languages, by the first line that is no comment.
var foreign = []struct {
	name string
	line *regexp.Regexp
}{
	{"YAML", regexp.MustCompile(`^(---|[\w-]+:(\s.*)?)$`)},
	{"TOML", regexp.MustCompile(`^\[\[?[\w. -]+\]\]?$`)},
	{"JSON", regexp.MustCompile(`^\{(\s*".*)?$`)},
}

// otherLanguage returns the only fault of a file in another language.
func (s syntax) otherLanguage() (Fault, bool) {
	for i, line := range strings.Split(string(s.src), "\n") {
		text := strings.TrimSpace(strings.TrimPrefix(line, "\ufeff"))
		if text == "" || strings.HasPrefix(text, "#") || strings.HasPrefix(text, "//") {
			continue
		}
		for _, f := range foreign {
			if f.line.MatchString(text) {
				at := Pos{s.file, i + 1, 1 + len(line) - len(strings.TrimLeft(line, " \t"))}
				return Fault{Pos: at, Text: fmt.Sprintf("the file looks like %s; allowed is HCL: settings like log_level = \"info\", and blocks like wal { ... }", f.name)}, true
			}
		}
		break
	}
	return Fault{}, false
}

// explain returns a syntax error in our words. Errors without words of ours keep those of HCL.
func (s syntax) explain(d *hcl.Diagnostic) Fault {
	if d.Subject == nil {
		return Fault{Pos: Pos{s.file, 1, 1}, Text: oneLine(d.Summary + "; " + d.Detail)}
	}
	found := string(d.Subject.SliceBytes(s.src))
	text := ""
	switch d.Summary {
	case "Invalid multi-line string", "Unterminated template string", "Unterminated string literal":
		return s.unclosedString(d)
	case "Unclosed configuration block":
		return s.unclosedBlock(d)
	case "Invalid number literal", "Missing newline after argument", "Invalid expression", "Missing expression":
		return s.wrongValue(d, found)
	case "Argument or block definition required":
		text = s.neither(d, found)
	case "Invalid character":
		return s.wrongCharacter(d, found)
	case "Invalid single-argument block definition":
		text = "a block on one line has more than one setting; allowed is each setting and the closing } on a line of its own"
	case "Argument definition required":
		text = "a block begins within a block on one line; allowed is each block on lines of its own"
	case "Invalid block definition":
		return s.noBrace(d)
	case "Missing newline after block definition":
		text = fmt.Sprintf("%s follows a block on its line; allowed is a new line behind each }", Quote(found))
		if found == "}" {
			text = closesNothing
		}
	case "Invalid escape sequence":
		text = fmt.Sprintf("%s is no escape sequence; allowed is \\\\ for a backslash, or / in a path", found)
	case "Missing item separator", "Unterminated tuple constructor expression":
		text = "the list has no comma or ] here; allowed is a list like [\"a\", \"b\"]"
	case "Missing attribute separator", "Unterminated object constructor expression", "Missing key/value separator", "Missing attribute value":
		text = "the map has no comma, = or } here; allowed is a map like { team = \"web\", stage = \"prod\" }"
	case "Unclosed template interpolation sequence":
		text = "${ has no closing } in its string; allowed is ${env.NAME}, or $${ for the text ${"
	case "Invalid character encoding":
		text = "the file has bytes that are not UTF-8; allowed is text in UTF-8"
	case "Invalid argument name":
		text = "the name of a setting is in quotes; allowed is NAME = VALUE, with the name without quotes"
	case "Invalid string literal":
		text = "a label is not plain text; allowed is a label like \"clicks\", without ${ }"
	default:
		text = oneLine(d.Summary + "; " + d.Detail)
	}
	return Fault{Pos: posOf(*d.Subject), Text: text}
}

const closesNothing = "this } closes no block; allowed is one } for each {"

// unclosedString places the fault at the quote that opens the string, not at the end of its line.
func (s syntax) unclosedString(d *hcl.Diagnostic) Fault {
	at := *d.Subject
	text := "the string has no closing quote on its line; allowed is text in quotes on one line"
	for _, t := range s.tokens {
		if t.Range.Start.Byte > d.Subject.Start.Byte {
			break
		}
		switch t.Type {
		case hclsyntax.TokenOQuote:
			at, text = t.Range, "the string has no closing quote on its line; allowed is text in quotes on one line"
		case hclsyntax.TokenOHeredoc:
			at, text = t.Range, "the text has no line that ends it; allowed is text in quotes on one line"
		}
	}
	return Fault{Pos: posOf(at), Text: text}
}

// unclosedBlock places the fault at the innermost block whose closing brace the indentation shows to be missing.
func (s syntax) unclosedBlock(d *hcl.Diagnostic) Fault {
	at := *d.Subject
	var open []hclsyntax.Token
	first := true // of its line
	for _, t := range s.tokens {
		if first && len(open) > 0 && s.indent(t) < s.indent(open[len(open)-1]) && t.Type != hclsyntax.TokenEOF && t.Type != hclsyntax.TokenNewline {
			at = open[len(open)-1].Range
			break
		}
		switch t.Type {
		case hclsyntax.TokenOBrace:
			open = append(open, t)
		case hclsyntax.TokenCBrace:
			open = open[:max(len(open)-1, 0)]
		}
		first = t.Type == hclsyntax.TokenNewline || t.Type == hclsyntax.TokenComment && bytes.HasSuffix(t.Bytes, []byte("\n"))
	}
	header := strings.TrimSpace(string(s.line(at.Start.Byte)[:s.column(at.Start.Byte)]))
	return Fault{Pos: posOf(at), Text: fmt.Sprintf("%s has no closing }; allowed is one } for each {", header)}
}

// indent returns the number of white characters before the first token of t's line.
func (s syntax) indent(t hclsyntax.Token) int {
	line := s.line(t.Range.Start.Byte)
	return len(line) - len(bytes.TrimLeft(line, " \t"))
}

// line returns the line that holds the byte at.
func (s syntax) line(at int) []byte {
	start := bytes.LastIndexByte(s.src[:at], '\n') + 1
	end := bytes.IndexByte(s.src[at:], '\n')
	if end < 0 {
		return s.src[start:]
	}
	return s.src[start : at+end]
}

// column returns the number of bytes of the line before the byte at.
func (s syntax) column(at int) int { return at - bytes.LastIndexByte(s.src[:at], '\n') - 1 }

// assignment returns the last setting that begins on the line of d and before it: the name, and the first token behind =.
func (s syntax) assignment(d *hcl.Diagnostic) (name string, value hclsyntax.Token, ok bool) {
	for i := 2; i < len(s.tokens); i++ {
		t := s.tokens[i]
		if t.Range.Start.Byte > d.Subject.Start.Byte {
			break
		}
		equal := s.tokens[i-1]
		if equal.Type == hclsyntax.TokenEqual && s.tokens[i-2].Type == hclsyntax.TokenIdent && equal.Range.Start.Line == d.Subject.Start.Line {
			name, value, ok = string(s.tokens[i-2].Bytes), t, true
		}
	}
	return name, value, ok
}

// wrongValue explains an error in a value or behind it. Mostly the quotes are missing.
func (s syntax) wrongValue(d *hcl.Diagnostic, found string) Fault {
	name, value, ok := s.assignment(d)
	if !ok {
		return Fault{Pos: posOf(*d.Subject), Text: oneLine(d.Summary + "; " + d.Detail)}
	}
	at := value.Range.Start.Byte
	bare := strings.TrimSuffix(string(s.line(at)[s.column(at):]), "\r")
	if end := strings.IndexAny(bare, " \t}"); end >= 0 {
		bare = bare[:end]
	}
	width := uniseg.GraphemeClusterCount(bare)
	switch {
	case bare == "" || strings.HasPrefix(bare, "#") || strings.HasPrefix(bare, "//"):
		return Fault{Pos: posOf(value.Range), Size: 1, Text: fmt.Sprintf("%s has no value behind =; allowed is %s = VALUE", name, name)}
	case strings.HasPrefix(bare, "'"):
		return Fault{Pos: posOf(value.Range), Size: width, Text: fmt.Sprintf("%s: single quotes; allowed is text in double quotes, like %s", name, Quote(strings.Trim(bare, "'")))}
	case strings.HasPrefix(bare, `"`), strings.HasPrefix(bare, "["), strings.HasPrefix(bare, "{"):
		text := fmt.Sprintf("%s follows the value of %s; allowed is one setting on a line", Quote(found), name)
		if found == "}" {
			text = fmt.Sprintf("the } of a block with several lines follows the value of %s; allowed is a } on a line of its own", name)
		}
		return Fault{Pos: posOf(*d.Subject), Text: text}
	case strings.HasSuffix(bare, `"`):
		return Fault{Pos: posOf(value.Range), Size: width, Text: fmt.Sprintf("%s: %s has no opening quote; allowed is \"%s", name, bare, bare)}
	case strings.ContainsAny(bare, "(${"):
		return Fault{Pos: posOf(value.Range), Size: width, Text: fmt.Sprintf("%s: an expression is not evaluated; allowed is plain text in quotes", name)}
	}
	return Fault{Pos: posOf(value.Range), Size: width, Text: fmt.Sprintf("%s: %s is not in quotes; allowed is %s", name, bare, Quote(bare))}
}

// neither explains a line that begins neither a setting nor a block.
func (s syntax) neither(d *hcl.Diagnostic, found string) string {
	if found == "}" {
		return closesNothing
	}
	next := slices.IndexFunc(s.tokens, func(t hclsyntax.Token) bool { return t.Range.Start.Byte >= d.Subject.End.Byte })
	if hclsyntax.ValidIdentifier(found) && next >= 0 {
		return fmt.Sprintf("%s is followed by %s; allowed is %s = VALUE, or a block %s { ... }", found, Quote(string(s.tokens[next].Bytes)), found, found)
	}
	return fmt.Sprintf("%s begins neither a setting nor a block; allowed is NAME = VALUE, or NAME { ... }", Quote(found))
}

// noBrace explains the header of a block without { on its line.
func (s syntax) noBrace(d *hcl.Diagnostic) Fault {
	line := s.line(d.Subject.Start.Byte)
	indent := len(line) - len(bytes.TrimLeft(line, " \t"))
	header := strings.TrimSpace(string(line))
	name, _, _ := strings.Cut(header, " ")
	return Fault{Pos: Pos{s.file, d.Subject.Start.Line, indent + 1}, Size: uniseg.GraphemeClusterCount(header),
		Text: fmt.Sprintf("%s has neither = nor { on its line; allowed is %s = VALUE, or %s { with { on the same line", header, name, header)}
}

// wrongCharacter explains a character that HCL does not have.
func (s syntax) wrongCharacter(d *hcl.Diagnostic, found string) Fault {
	instead := "is not part of the language; allowed is text in double quotes"
	switch found {
	case ";":
		instead = "is no separator; allowed is one setting on a line"
	case "'":
		if name, _, ok := s.assignment(d); ok && name != "" {
			return s.wrongValue(d, found)
		}
	case "\r":
		instead = `alone is no line break of the language; allowed is \n or \r\n`
	case "\u00a0":
		instead = "is no blank of the language; allowed are spaces and tabs"
	case "\u201c", "\u201d", "\u2018", "\u2019", "`":
		instead = "is no quote of the language; allowed is the straight double quote"
	}
	return Fault{Pos: posOf(*d.Subject), Text: found + " " + instead}
}
