package schema

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/rivo/uniseg"
)

// Texts are the files of a configuration, by name.
type Texts map[string][]byte

// excerpts adds the source lines of faults.
type excerpts struct {
	texts  Texts
	tokens map[string]hclsyntax.Tokens
	lines  map[string][]string
}

// AddSources sets the line and the width of each fault at a position in texts.
func (texts Texts) AddSources(faults []Fault) {
	e := excerpts{texts, make(map[string]hclsyntax.Tokens), make(map[string][]string)}
	for i := range faults {
		e.add(&faults[i])
	}
}

func (e excerpts) add(f *Fault) {
	text, ok := e.texts[f.Pos.File]
	if !ok || f.Pos.Line < 1 {
		return
	}
	lines, ok := e.lines[f.Pos.File]
	if !ok {
		lines = strings.Split(string(text), "\n")
		e.lines[f.Pos.File] = lines
		e.tokens[f.Pos.File], _ = hclsyntax.LexConfig(text, f.Pos.File, hcl.InitialPos)
	}
	if f.Pos.Line > len(lines) {
		return
	}
	f.Source = strings.TrimSuffix(lines[f.Pos.Line-1], "\r")
	if f.Size == 0 {
		f.Size = width(e.tokens[f.Pos.File], f.Pos)
	}
}

// width returns the number of characters of the value or name at p, as far as it is on p's line; at least 1.
func width(tokens hclsyntax.Tokens, p Pos) int {
	i, found := slices.BinarySearchFunc(tokens, p, func(t hclsyntax.Token, p Pos) int { return posOf(t.Range).Compare(p) })
	if !found {
		return 1
	}
	end, depth := tokens[i].Range.End.Column, 0
	for j, t := range tokens[i:] {
		if t.Range.End.Line != p.Line {
			break
		}
		end = t.Range.End.Column
		switch t.Type {
		case hclsyntax.TokenOQuote, hclsyntax.TokenOBrack, hclsyntax.TokenOBrace, hclsyntax.TokenTemplateInterp, hclsyntax.TokenOParen:
			depth++
		case hclsyntax.TokenCQuote, hclsyntax.TokenCBrack, hclsyntax.TokenCBrace, hclsyntax.TokenTemplateSeqEnd, hclsyntax.TokenCParen:
			depth--
		}
		if depth <= 0 && !continues(tokens[i+j:]) {
			break
		}
	}
	return max(end-p.Column, 1)
}

// continues reports whether the first token is part of a longer name or call, as env in env.NAME and env("NAME").
func continues(tokens hclsyntax.Tokens) bool {
	if len(tokens) < 2 || tokens[0].Range.End.Byte != tokens[1].Range.Start.Byte {
		return false
	}
	first, second := tokens[0].Type, tokens[1].Type
	return first == hclsyntax.TokenIdent && (second == hclsyntax.TokenDot || second == hclsyntax.TokenOParen) ||
		first == hclsyntax.TokenDot && second == hclsyntax.TokenIdent
}

const (
	excerptIndent = "    "
	longestLine   = 140 // columns; longer lines are cut
	cutBefore     = 40  // the columns of a cut line before the fault
)

// excerpt returns the fault's line and a line with carets, or "" without a source.
func (f Fault) excerpt() string {
	if strings.TrimSpace(f.Source) == "" {
		return ""
	}
	line := characters(f.Source)
	line, before := cut(line, min(f.Pos.Column-1, len(line)))
	carets := under(line[before:min(before+f.Size, len(line))], "^")
	if !strings.HasPrefix(carets, "^") {
		carets = "^" // at the end of the line, at a tab, or at a character without a width
	}
	var text strings.Builder
	for _, c := range line {
		text.WriteString(c.text)
	}
	return excerptIndent + text.String() + "\n" + excerptIndent + under(line[:before], " ") + carets + "\n"
}

// character is one column of HCL: a letter with its combining marks, or an emoji of several code points.
type character struct {
	text  string
	width int // in columns of a terminal
}

// characters splits a line. Control characters except tabs become blanks: a terminal would execute them.
func characters(line string) (all []character) {
	for state := -1; line != ""; {
		var c character
		c.text, line, c.width, state = uniseg.FirstGraphemeClusterInString(line, state)
		switch {
		case c.text == "\t":
			c.width = 1
		case strings.ContainsFunc(c.text, unicode.IsControl):
			c = character{" ", 1}
		}
		c.text = strings.ToValidUTF8(c.text, string(unicode.ReplacementChar))
		all = append(all, c)
	}
	return all
}

// cut returns the columns of a long line around the character at before, and the new place of that character.
func cut(line []character, before int) ([]character, int) {
	if fitting(line, longestLine) == len(line) {
		return line, before
	}
	start := before
	for columns := 0; start > 0 && columns+line[start-1].width <= cutBefore; start-- {
		columns += line[start-1].width
	}
	line = line[start:]
	return line[:fitting(line, longestLine)], before - start
}

// fitting returns the number of characters at the beginning of a line that are together at most as wide as columns.
func fitting(line []character, columns int) int {
	for i, c := range line {
		if columns -= c.width; columns < 0 {
			return i
		}
	}
	return len(line)
}

// under returns a line of mark that is as wide as line. A tab stays a tab: its width depends on its column.
func under(line []character, mark string) string {
	var b strings.Builder
	for _, c := range line {
		if c.text == "\t" {
			b.WriteString(c.text)
			continue
		}
		b.WriteString(strings.Repeat(mark, c.width))
	}
	return b.String()
}

// WriteFaults writes each fault as its place and text, its source line, and carets under its value.
func WriteFaults(w io.Writer, faults []Fault) error {
	var text strings.Builder
	for _, f := range faults {
		fmt.Fprintf(&text, "%s\n%s", f, f.excerpt())
	}
	_, err := io.WriteString(w, text.String())
	return err
}
