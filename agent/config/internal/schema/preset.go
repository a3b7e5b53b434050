package schema

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Preset has values for settings that a file does not have. A block's values are for all blocks of its kind.
type Preset struct {
	name string
	text []byte
	body *hclsyntax.Body
}

// MustPreset returns the preset with the text of a configuration, whose blocks have no labels. It panics if that is wrong.
func MustPreset(name, text string) *Preset {
	file, diags := hclsyntax.ParseConfig([]byte(text), "profile "+name, hcl.InitialPos)
	if diags.HasErrors() {
		panic(fmt.Sprintf("profile %s: %v", name, diags))
	}
	return &Preset{name, []byte(text), file.Body.(*hclsyntax.Body)}
}

// value returns the value of a setting in the blocks of path; nil: the preset has none.
func (p *Preset) value(path []string, name string) hclsyntax.Expression {
	if p == nil {
		return nil
	}
	body := p.body
	for _, kind := range path {
		i := slices.IndexFunc(body.Blocks, func(b *hclsyntax.Block) bool { return b.Type == kind })
		if i < 0 {
			return nil
		}
		body = body.Blocks[i].Body
	}
	if attr := body.Attributes[name]; attr != nil {
		return attr.Expr
	}
	return nil
}

// Profile is a setting that names one of the presets, or none. It must be the first setting of the file's section, because the
// preset holds for all that follow.
func Profile[T any](name string, field func(*T) *string, presets map[string]*Preset) Setting[T] {
	words := slices.Sorted(maps.Keys(presets))
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = Quote(w)
	}
	s := Text(name, strings.Join(append(quoted, `""`), " or "), field, func(s string) string {
		if s == "" || presets[s] != nil {
			return ""
		}
		return "is unknown"
	})
	read := s.Read
	s.Kind = "word"
	s.Read = func(v Value, into *T) bool {
		if !read(v, into) {
			return false
		}
		if p := presets[*field(into)]; p != nil {
			v.Block.r.preset = p
			v.Block.r.texts["profile "+p.name] = p.text
		}
		return true
	}
	return s
}

// Explained is the value of one setting, and its origin.
type Explained struct {
	Block string // as `stream "clicks" destination "file" "local"`; empty: the top of the file
	Name  string
	Value string // as in a file, or in words
	From  string // the position in the file, the profile, or default
}

// explain records the value of a setting.
func explain[T any](b *Block, set *Setting[T], into *T, from string) {
	value := ""
	switch {
	case from == fromDefault && set.required: // a fault
		return
	case from == fromDefault && set.otherwise != "":
		value = set.otherwise
	default:
		value = set.Show(into)
	}
	b.r.explained = append(b.r.explained, Explained{strings.Join(b.titles, " "), set.Name, value, from})
}

const fromDefault = "default"
