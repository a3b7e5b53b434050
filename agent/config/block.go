package config

import (
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// section is the schema of one kind of block: its settings and nested blocks, which are read into a T.
type section[T any] struct {
	settings []setting[T]
	blocks   []child[T] // read in this order, not in the file's
	check    func(b *block, into *T)
}

// with returns s with one more kind of block in it.
func (s *section[T]) with(c child[T]) *section[T] {
	s.blocks = append(s.blocks, c)
	return s
}

// setting is one `name = value`.
type setting[T any] struct {
	name     string
	allowed  string // the end of fault texts: "allowed is ..."
	required bool
	read     func(v value, into *T) bool // returns false after adding a fault

	// For Describe.
	kind      string               // the type
	meaning   string               // see means
	show      func(into *T) string // formats the field as in a file
	otherwise string               // replaces show's text, for a default that depends on something
	restart   bool                 // a change takes effect at the next start
	reloads   bool                 // a change takes effect at a reload, although the block's do not
}

// means returns s with its documentation.
func (s setting[T]) means(meaning string) setting[T] {
	s.meaning = meaning
	return s
}

// byDefault returns s with a description of its default.
func (s setting[T]) byDefault(text string) setting[T] {
	s.otherwise = text
	return s
}

// needsRestart returns s as a setting that a reload does not change.
func (s setting[T]) needsRestart() setting[T] {
	s.restart = true
	return s
}

// reloaded returns s as a setting that a reload changes, in a block that needs a restart.
func (s setting[T]) reloaded() setting[T] {
	s.reloads = true
	return s
}

// needed returns s as a required setting.
func (s setting[T]) needed() setting[T] {
	s.required = true
	return s
}

// child is one kind of nested block.
type child[T any] struct {
	name   string
	labels []string // the placeholders in fault texts: TYPE, NAME
	once   bool
	read   func(b *block, into *T)

	// For Describe.
	describe func(d *description, at place, into *T)
	meaning  string
	types    bool // the first label is a type, and describe opens a section for each
	restart  bool // a change takes effect at the next start
}

// means returns c with its documentation.
func (c child[T]) means(meaning string) child[T] {
	c.meaning = meaning
	return c
}

// needsRestart returns c as a block that a reload does not change.
func (c child[T]) needsRestart() child[T] {
	c.restart = true
	return c
}

// form returns the block's header, as in a file.
func (c child[T]) form() string {
	form := c.name
	for _, l := range c.labels {
		form += ` "` + l + `"`
	}
	return form
}

// inner is a block without labels that may appear once.
func inner[T, U any](name string, s *section[U], field func(*T) *U) child[T] {
	return child[T]{
		name:     name,
		once:     true,
		read:     func(b *block, into *T) { s.read(b, field(into)) },
		describe: func(d *description, at place, into *T) { s.describe(d, at, field(into)) },
	}
}

// lifted returns the settings of s for use in the surrounding block.
func lifted[T, U any](s *section[U], field func(*T) *U) []setting[T] {
	var settings []setting[T]
	for _, set := range s.settings {
		settings = append(settings, setting[T]{
			name: set.name, allowed: set.allowed, required: set.required,
			read: func(v value, into *T) bool { return set.read(v, field(into)) },
			kind: set.kind, meaning: set.meaning, otherwise: set.otherwise, restart: set.restart, reloads: set.reloads,
			show: func(into *T) string { return set.show(field(into)) },
		})
	}
	return settings
}

// block is one block of the file during reading.
type block struct {
	r          *reader
	what       string // its name in fault texts; empty for the file itself
	body       *hclsyntax.Body
	head       Pos
	labels     []string
	labelPos   []Pos
	understood map[string]Pos // the settings read without a fault, with the position of their value
}

func (r *reader) block(hb *hclsyntax.Block) *block {
	b := &block{r: r, what: hb.Type, body: hb.Body, head: posOf(hb.TypeRange), labels: hb.Labels}
	for i, l := range hb.Labels {
		b.what += " " + quote(l)
		b.labelPos = append(b.labelPos, posOf(hb.LabelRanges[i]))
	}
	return b
}

func (b *block) fault(p Pos, format string, args ...any) { b.r.faults.add(p, format, args...) }

// in returns the end of "unknown setting x": the block's name.
func (b *block) in() string {
	if b.what == "" {
		return ""
	}
	return " in " + b.what
}

// has reports whether the file has a block of that name, valid or not.
func (b *block) has(name string) bool {
	return slices.ContainsFunc(b.body.Blocks, func(hb *hclsyntax.Block) bool { return hb.Type == name })
}

// attribute returns the position of a setting's name, valid or not.
func (b *block) attribute(name string) (Pos, bool) {
	attr, ok := b.body.Attributes[name]
	if !ok {
		return Pos{}, false
	}
	return posOf(attr.NameRange), true
}

// nested returns the blocks of that name in b.
func (b *block) nested(name string) (blocks []*block) {
	for _, hb := range b.body.Blocks {
		if hb.Type == name {
			blocks = append(blocks, b.r.block(hb))
		}
	}
	return blocks
}

// state returns the state that the checks of the configuration keep.
func (b *block) state() any { return b.r.state }

// wrote reports whether the block has a valid setting of that name.
func (b *block) wrote(name string) bool {
	_, ok := b.understood[name]
	return ok
}

// misread reports whether the block has a setting of that name that is already a fault.
func (b *block) misread(name string) bool {
	_, ok := b.body.Attributes[name]
	return ok && !b.wrote(name)
}

// at returns the position of a setting's value, or of the block if it has no such setting.
func (b *block) at(name string) Pos {
	if p, ok := b.understood[name]; ok {
		return p
	}
	return b.head
}

func (s *section[T]) read(b *block, into *T) {
	s.readSettings(b, into)
	s.readBlocks(b, into)
	if s.check != nil {
		s.check(b, into)
	}
}

func (s *section[T]) readSettings(b *block, into *T) {
	b.understood = map[string]Pos{}
	for _, set := range s.settings {
		attr, ok := b.body.Attributes[set.name]
		if !ok {
			if set.required {
				b.fault(b.head, "%s has no %s; needed is %s", b.what, set.name, set.allowed)
			}
			continue
		}
		v := value{b: b, name: set.name, allowed: set.allowed, expr: attr.Expr}
		if set.read(v, into) {
			b.understood[set.name] = v.pos()
		}
	}
	for _, attr := range b.body.Attributes {
		s.expectSetting(b, attr)
	}
}

// expectSetting adds a fault unless attr is one of the section's settings.
func (s *section[T]) expectSetting(b *block, attr *hclsyntax.Attribute) {
	settings, blocks := s.names()
	if slices.Contains(settings, attr.Name) {
		return
	}
	p := posOf(attr.NameRange)
	if slices.Contains(blocks, attr.Name) {
		b.fault(p, "%s is a block, not a setting; allowed is %s { ... }", attr.Name, s.child(attr.Name).form())
		return
	}
	if home := s.home(attr.Name); home != "" {
		b.fault(p, "unknown setting %q%s; it belongs in the %s block", attr.Name, b.in(), home)
		return
	}
	b.fault(p, "unknown setting %q%s; %s", attr.Name, b.in(), instead(attr.Name, settings))
}

// home returns the nested block that has a setting of that name.
func (s *section[T]) home(name string) string {
	for _, c := range s.blocks {
		d := &description{sections: make([]Section, 1)}
		c.describe(d, place{}, new(T))
		if slices.ContainsFunc(d.sections, func(s Section) bool {
			return slices.ContainsFunc(s.Settings, func(s Setting) bool { return s.Path == name })
		}) {
			return c.name
		}
	}
	return ""
}

func (s *section[T]) names() (settings, blocks []string) {
	for _, set := range s.settings {
		settings = append(settings, set.name)
	}
	for _, c := range s.blocks {
		blocks = append(blocks, c.name)
	}
	return settings, blocks
}

func (s *section[T]) child(name string) child[T] {
	i := slices.IndexFunc(s.blocks, func(c child[T]) bool { return c.name == name })
	return s.blocks[i]
}

func (s *section[T]) readBlocks(b *block, into *T) {
	for _, c := range s.blocks {
		c.readAll(b, into)
	}
	for _, hb := range b.body.Blocks {
		s.expectBlock(b, hb)
	}
}

// readAll reads every block of the kind c.
func (c child[T]) readAll(b *block, into *T) {
	var first Pos
	for _, hb := range b.body.Blocks {
		if hb.Type != c.name {
			continue
		}
		nested := b.r.block(hb)
		switch {
		case c.once && first != Pos{}:
			b.fault(nested.head, "%s is given twice%s; it may stand once, first at %s", c.name, b.in(), first.seenFrom(nested.head))
		case len(hb.Labels) != len(c.labels):
			b.fault(nested.head, "%s has %s; allowed is %s { ... }", c.name, labelCount(len(hb.Labels)), c.form())
		default:
			c.read(nested, into)
		}
		if first == (Pos{}) {
			first = nested.head
		}
	}
}

func labelCount(n int) string {
	switch n {
	case 0:
		return "no label"
	case 1:
		return "a label"
	}
	return strconv.Itoa(n) + " labels"
}

// expectBlock adds a fault unless hb is one of the section's blocks.
func (s *section[T]) expectBlock(b *block, hb *hclsyntax.Block) {
	settings, blocks := s.names()
	p := posOf(hb.TypeRange)
	switch {
	case slices.Contains(blocks, hb.Type):
	case slices.Contains(settings, hb.Type):
		b.fault(p, "%s is a setting, not a block; allowed is %s = ...", hb.Type, hb.Type)
	case len(blocks) == 0:
		b.fault(p, "unknown block %q%s; no block is allowed here, only the settings %s",
			hb.Type, b.in(), strings.Join(settings, ", "))
	default:
		b.fault(p, "unknown block %q%s; %s", hb.Type, b.in(), instead(hb.Type, blocks))
	}
}
