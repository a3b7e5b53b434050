package schema

import (
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

const (
	// maxFile is the largest size of a configuration in bytes.
	maxFile = 1 << 20

	// maxDepth is the deepest nesting of brackets and operators. A valid file needs ten.
	maxDepth = 100
)

// reader is the state of reading a configuration.
type reader struct {
	files    []Source
	texts    Texts // of files
	faults   faults
	warnings faults
	places   map[string]string // the settings that may contain ${name}, in words, by name
	state    any               // of the checks
	preset   *Preset           // nil: none

	explained []Explained
}

// ReadConfiguration reads the files as one configuration into a T. places describes the settings that may contain ${name}, by
// name. state is kept for the checks of blocks. The error is a *FaultsError. It returns the texts of the files, and the
// warnings and all settings of a valid configuration.
func ReadConfiguration[T any](files []Source, top *Section[T], into *T, places map[string]string, state any) (Texts, []Fault, []Explained, error) {
	r := &reader{files: files, texts: make(Texts), places: places, state: state}
	if all, ok := r.readFiles(); ok {
		top.Read(&Block{r: r, body: all, Head: Pos{files[0].Name, 1, 1}}, into)
	}
	if len(r.faults) > 0 {
		return r.texts, nil, nil, &FaultsError{Faults: r.faults.sorted(r.texts)}
	}
	return r.texts, r.warnings.sorted(r.texts), r.explained, nil
}

// readFiles returns the contents of all files. It reports false if a part is missing.
func (r *reader) readFiles() (*hclsyntax.Body, bool) {
	all, size := &hclsyntax.Body{Attributes: hclsyntax.Attributes{}}, 0
	sound := true
	for _, f := range r.files {
		if size += len(f.Text); size > maxFile {
			r.faults.add(Pos{f.Name, 1, 1}, "%s %d bytes; allowed is at most %d", r.subject(f), size, maxFile)
			return nil, false
		}
		body, ok := r.parseFile(f)
		if ok {
			r.merge(all, body)
		}
		sound = sound && ok
	}
	return all, sound
}

// subject returns the beginning of a fault about the size of the files up to f.
func (r *reader) subject(f Source) string {
	if f.Name == r.files[0].Name {
		return "the file has"
	}
	return "the files of the folder have until this one"
}

// parseFile returns the contents of a file. It reports false after a syntax error: further faults would be its consequences.
func (r *reader) parseFile(f Source) (*hclsyntax.Body, bool) {
	r.texts[f.Name] = f.Text
	if place, deep := tooDeep(f.Text, f.Name); deep {
		r.faults.add(place, "more than %d brackets and operators within each other; "+
			"allowed are blocks, and values that are strings in quotes, true or false", maxDepth)
		return nil, false
	}
	file, diags := hclsyntax.ParseConfig(f.Text, f.Name, hcl.InitialPos)
	r.faults.addSyntax(diags, f.Text, f.Name)
	body, ok := file.Body.(*hclsyntax.Body)
	return body, ok && whole(diags)
}

// merge adds the contents of a file to those of the files before it.
func (r *reader) merge(all, body *hclsyntax.Body) {
	for name, attr := range body.Attributes {
		if first, twice := all.Attributes[name]; twice {
			at := posOf(attr.NameRange)
			r.faults.add(at, "%s is given twice; a setting may stand once, first at %s", name, posOf(first.NameRange).SeenFrom(at))
			continue
		}
		all.Attributes[name] = attr
	}
	all.Blocks = append(all.Blocks, body.Blocks...)
}

// whole reports whether HCL has read the file to its end. After a syntax error further faults would be its consequences.
func whole(diags hcl.Diagnostics) bool {
	return !slices.ContainsFunc(diags, func(d *hcl.Diagnostic) bool {
		return d.Severity == hcl.DiagError && d.Summary != redefined
	})
}

// tooDeep returns the position of the first bracket or operator that is nested too deeply. HCL's parser recurses for each of
// them, and a stack overflow ends the process. 64 KiB of "[" are enough for that with hcl v2.25.0.
func tooDeep(src []byte, file string) (Pos, bool) {
	tokens, _ := hclsyntax.LexConfig(src, file, hcl.InitialPos)
	depth := 0
	for _, t := range tokens {
		switch t.Type {
		case hclsyntax.TokenOBrace, hclsyntax.TokenOParen, hclsyntax.TokenOBrack, hclsyntax.TokenOQuote,
			hclsyntax.TokenOHeredoc, hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl,
			// no valid file has these, so nothing decrements depth for them
			hclsyntax.TokenBang, hclsyntax.TokenMinus, hclsyntax.TokenQuestion:
			depth++
		case hclsyntax.TokenCBrace, hclsyntax.TokenCParen, hclsyntax.TokenCBrack, hclsyntax.TokenCQuote,
			hclsyntax.TokenCHeredoc, hclsyntax.TokenTemplateSeqEnd:
			depth = max(depth-1, 0)
		}
		if depth > maxDepth {
			return posOf(t.Range), true
		}
	}
	return Pos{}, false
}
