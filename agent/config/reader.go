package config

import (
	"slices"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

const (
	// maxFile is the largest size of a configuration in bytes.
	maxFile = 1 << 20

	// maxDepth is the deepest nesting of brackets and operators. A valid file needs ten.
	maxDepth = 100
)

// reader is the state of reading one file.
type reader struct {
	src    []byte
	file   string
	faults faults
	aws    AWS           // the file's defaults, read before any destination
	maxAge time.Duration // of the wal block, read before any stream
	taken  []taken
	relays []taken // the addresses of relay destinations
	s3     []s3Target
	refers []reference
	auths  []authBlock
}

func (r *reader) readFile(c *Config) {
	if len(r.src) > maxFile {
		r.faults.add(Pos{r.file, 1, 1}, "the file has %d bytes; allowed is at most %d", len(r.src), maxFile)
		return
	}
	if place, deep := tooDeep(r.src, r.file); deep {
		r.faults.add(place, "more than %d brackets and operators within each other; "+
			"allowed are blocks, and values that are strings in quotes, true or false", maxDepth)
		return
	}
	file, diags := hclsyntax.ParseConfig(r.src, r.file, hcl.InitialPos)
	r.faults.addDiagnostics(diags, r.src, r.file)
	if body, ok := file.Body.(*hclsyntax.Body); ok && whole(diags) {
		fileSection.read(&block{r: r, body: body, head: Pos{r.file, 1, 1}}, c)
	}
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
