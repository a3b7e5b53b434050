package main

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// text is a paragraph or a string literal, with its line.
type text struct {
	line  int
	words string
}

// readable reports whether path is a file that has prose for people.
func readable(path string) bool {
	switch {
	case strings.HasSuffix(path, ".pb.go"):
		return false
	case strings.HasSuffix(path, ".go"), strings.HasSuffix(path, ".md"), strings.HasSuffix(path, ".hcl.example"), strings.HasSuffix(path, ".proto"):
		return true
	}
	return filepath.Base(path) == "Makefile"
}

func textsOf(path string) ([]text, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	switch {
	case strings.HasSuffix(path, ".go"):
		return goTexts(path, src)
	case strings.HasSuffix(path, ".md"):
		return markdownTexts(src), nil
	case strings.HasSuffix(path, ".proto"):
		return lineComments(src, "//"), nil
	}
	return lineComments(src, "#"), nil
}

// goTexts returns the paragraphs of the comments and, of a file that is no test, the texts of four words and more.
func goTexts(path string, src []byte) (all []text, err error) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, path, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	if ast.IsGenerated(file) {
		return nil, nil
	}
	for _, group := range file.Comments {
		all = append(all, paragraphs(set.Position(group.Pos()).Line, group.Text())...)
	}
	if strings.HasSuffix(path, "_test.go") {
		return all, nil
	}
	ast.Inspect(file, func(n ast.Node) bool {
		lit, ok := n.(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			return true
		}
		if value, err := strconv.Unquote(lit.Value); err == nil && len(strings.Fields(value)) >= 4 && !strings.ContainsAny(value, `<{\`) {
			all = append(all, paragraphs(set.Position(lit.Pos()).Line, value)...)
		}
		return true
	})
	return all, nil
}

var listItem = regexp.MustCompile(`^\s*(?:[-*•]|\d+\.)\s+`)

// paragraphs splits the text of a doc comment. Lines that begin with a tab or two spaces are code unless they go on
// with an item of a list.
func paragraphs(line int, s string) (all []text) {
	var words []string
	first, item := line, false
	flush := func() {
		if len(words) > 0 {
			all = append(all, text{first, strings.Join(words, " ")})
		}
		words = nil
	}
	for i, l := range strings.Split(s, "\n") {
		starts := listItem.MatchString(l)
		switch {
		case strings.TrimSpace(l) == "":
			flush()
			continue
		case starts:
			flush()
			l = listItem.ReplaceAllString(l, "")
		case !item && (strings.HasPrefix(l, "\t") || strings.HasPrefix(l, "  ")):
			flush()
			continue
		case strings.HasPrefix(l, "# "):
			l = l[2:]
		}
		item = starts || item && (strings.HasPrefix(l, "\t") || strings.HasPrefix(l, " "))
		if len(words) == 0 {
			first = line + i
		}
		words = append(words, strings.TrimSpace(l))
	}
	flush()
	return all
}

// markdownTexts leaves out fenced code; each cell of a table is a text of its own.
func markdownTexts(src []byte) (all []text) {
	fenced := false
	var words []string
	first := 0
	flush := func() {
		if len(words) > 0 {
			all = append(all, text{first, strings.Join(words, " ")})
		}
		words = nil
	}
	for i, l := range strings.Split(string(src), "\n") {
		trimmed := strings.TrimSpace(l)
		if strings.HasPrefix(trimmed, "```") {
			fenced = !fenced
			flush()
			continue
		}
		switch {
		case fenced:
			continue
		case trimmed == "", strings.HasPrefix(trimmed, "#"), strings.HasPrefix(trimmed, "|"), listItem.MatchString(l):
			flush()
		}
		if strings.HasPrefix(trimmed, "|") {
			for cell := range strings.SplitSeq(strings.Trim(trimmed, "|"), "|") {
				if cell = strings.TrimSpace(cell); cell != "" {
					all = append(all, text{i + 1, cell})
				}
			}
			continue
		}
		if trimmed == "" {
			continue
		}
		if len(words) == 0 {
			first = i + 1
		}
		words = append(words, strings.TrimLeft(listItem.ReplaceAllString(trimmed, ""), "#> "))
		if strings.HasPrefix(trimmed, "#") {
			flush()
		}
	}
	flush()
	return all
}

// codeLine matches a line of HCL: a setting, or the first or last line of a block.
var codeLine = regexp.MustCompile(`^(?:\w+ *= |\w+(?: "[^"]*")* \{|\}$)`)

// lineComments returns the comments that begin with sign; comments on consecutive lines are one. Settings in comments are
// code, except for the comment behind them.
func lineComments(src []byte, sign string) (all []text) {
	var words []string
	first := 0
	flush := func() {
		if len(words) > 0 {
			all = append(all, text{first, strings.Join(words, " ")})
		}
		words = nil
	}
	for i, l := range bytes.Split(src, []byte("\n")) {
		code, comment, found := strings.Cut(string(l), sign)
		comment = strings.TrimSpace(comment)
		if codeLine.MatchString(comment) {
			code, comment, found = strings.Cut(comment, sign)
			comment = strings.TrimSpace(comment)
		}
		if alone := strings.TrimSpace(code) == ""; !found || comment == "" || !alone {
			flush()
			if found && comment != "" && !alone && !strings.HasSuffix(code, "$") {
				all = append(all, text{i + 1, strings.TrimLeft(comment, "# ")})
			}
			continue
		}
		if len(words) == 0 {
			first = i + 1
		}
		words = append(words, comment)
	}
	flush()
	return all
}
