package schema

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Section is the schema of one kind of block: its settings and nested blocks, which are read into a T.
type Section[T any] struct {
	Settings []Setting[T]
	Blocks   []Child[T] // read in this order, not in the file's
	Check    func(b *Block, into *T)
}

// Setting is one `name = value`.
type Setting[T any] struct {
	Name     string
	Allowed  string // the end of fault texts: "allowed is ..."
	required bool
	Read     func(v Value, into *T) bool // returns false after adding a fault
	marks    []string                    // see MayContain

	// For Describe.
	Kind      string               // the type
	meaning   string               // see means
	Show      func(into *T) string // formats the field as in a file
	otherwise string               // replaces show's text, for a default that depends on something
	restart   bool                 // a change takes effect at the next start
	reloads   bool                 // a change takes effect at a reload, although the block's do not
}

// Means returns s with its documentation.
func (s Setting[T]) Means(meaning string) Setting[T] {
	s.meaning = meaning
	return s
}

// ByDefault returns s with a description of its default.
func (s Setting[T]) ByDefault(text string) Setting[T] {
	s.otherwise = text
	return s
}

// NeedsRestart returns s as a setting that a reload does not change.
func (s Setting[T]) NeedsRestart() Setting[T] {
	s.restart = true
	return s
}

// Reloaded returns s as a setting that a reload changes, in a block that needs a restart.
func (s Setting[T]) Reloaded() Setting[T] {
	s.reloads = true
	return s
}

// Needed returns s as a required setting.
func (s Setting[T]) Needed() Setting[T] {
	s.required = true
	return s
}

// Child is one kind of nested block.
type Child[T any] struct {
	Name   string
	Labels []string // the placeholders in fault texts: TYPE, NAME
	once   bool
	always bool // without such a block, an empty one is read
	Read   func(b *Block, into *T)

	// For Describe.
	Describe func(d *Description, at Place, into *T)
	Meaning  string
	Types    bool // the first label is a type, and describe opens a section for each
	restart  bool // a change takes effect at the next start
}

// Means returns c with its documentation.
func (c Child[T]) Means(meaning string) Child[T] {
	c.Meaning = meaning
	return c
}

// NeedsRestart returns c as a block that a reload does not change.
func (c Child[T]) NeedsRestart() Child[T] {
	c.restart = true
	return c
}

// Always returns c as a block that is read as an empty one if the file has none: a profile may have values for it.
func (c Child[T]) Always() Child[T] {
	c.always = true
	return c
}

// form returns the block's header, as in a file.
func (c Child[T]) form() string {
	form := c.Name
	for _, l := range c.Labels {
		form += ` "` + l + `"`
	}
	return form
}

// Inner is a block without labels that may appear once.
func Inner[T, U any](name string, s *Section[U], field func(*T) *U) Child[T] {
	return Child[T]{
		Name:     name,
		once:     true,
		Read:     func(b *Block, into *T) { s.Read(b, field(into)) },
		Describe: func(d *Description, at Place, into *T) { s.Describe(d, at, field(into)) },
	}
}

// Lifted returns the settings of s for use in the surrounding block.
func Lifted[T, U any](s *Section[U], field func(*T) *U) []Setting[T] {
	var settings []Setting[T]
	for _, set := range s.Settings {
		settings = append(settings, Setting[T]{
			Name: set.Name, Allowed: set.Allowed, required: set.required,
			Read: func(v Value, into *T) bool { return set.Read(v, field(into)) },
			Kind: set.Kind, meaning: set.meaning, otherwise: set.otherwise, restart: set.restart, reloads: set.reloads,
			Show: func(into *T) string { return set.Show(field(into)) },
		})
	}
	return settings
}

// Block is one block of the file during reading.
type Block struct {
	r          *reader
	Name       string // its name in fault texts; empty for the file itself
	body       *hclsyntax.Body
	Head       Pos
	Labels     []string
	LabelPos   []Pos
	path       []string       // its kind, after those of the blocks around it
	titles     []string       // its name, after those of the blocks around it
	understood map[string]Pos // the settings read without a fault, with the position of their value
}

func (r *reader) block(hb *hclsyntax.Block) *Block {
	b := &Block{r: r, Name: hb.Type, body: hb.Body, Head: posOf(hb.TypeRange), Labels: hb.Labels}
	for i, l := range hb.Labels {
		b.Name += " " + Quote(l)
		b.LabelPos = append(b.LabelPos, posOf(hb.LabelRanges[i]))
	}
	return b
}

func (b *Block) Fault(p Pos, format string, args ...any) { b.r.faults.add(p, format, args...) }

// Warn adds a warning: the configuration is valid, but surely not as intended.
func (b *Block) Warn(p Pos, format string, args ...any) {
	b.r.warnings = append(b.r.warnings, Fault{Pos: p, Text: fmt.Sprintf(format, args...), Warning: true})
}

// in returns the end of "unknown setting x": the block's name.
func (b *Block) in() string {
	if b.Name == "" {
		return ""
	}
	return " in " + b.Name
}

// Has reports whether the file has a block of that name, valid or not.
func (b *Block) Has(name string) bool {
	return slices.ContainsFunc(b.body.Blocks, func(hb *hclsyntax.Block) bool { return hb.Type == name })
}

// Attribute returns the position of a setting's name, valid or not.
func (b *Block) Attribute(name string) (Pos, bool) {
	attr, ok := b.body.Attributes[name]
	if !ok {
		return Pos{}, false
	}
	return posOf(attr.NameRange), true
}

// Nested returns the blocks of that name in b.
func (b *Block) Nested(name string) (blocks []*Block) {
	for _, hb := range b.body.Blocks {
		if hb.Type == name {
			blocks = append(blocks, b.r.block(hb))
		}
	}
	return blocks
}

// State returns the state that the checks of the configuration keep.
func (b *Block) State() any { return b.r.state }

// Wrote reports whether the block has a valid setting of that name.
func (b *Block) Wrote(name string) bool {
	_, ok := b.understood[name]
	return ok
}

// Misread reports whether the block has a setting of that name that is already a fault.
func (b *Block) Misread(name string) bool {
	_, ok := b.body.Attributes[name]
	return ok && !b.Wrote(name)
}

// At returns the position of a setting's value, or of the block if it has no such setting.
func (b *Block) At(name string) Pos {
	if p, ok := b.understood[name]; ok {
		return p
	}
	return b.Head
}

func (s *Section[T]) Read(b *Block, into *T) {
	s.readSettings(b, into)
	s.readBlocks(b, into)
	if s.Check != nil {
		s.Check(b, into)
	}
}

func (s *Section[T]) readSettings(b *Block, into *T) {
	b.understood = map[string]Pos{}
	for _, set := range s.Settings {
		attr, ok := b.body.Attributes[set.Name]
		if !ok {
			if set.required && !s.misspelled(b, set.Name) {
				b.Fault(b.Head, "%s has no %s; needed is %s", b.Name, set.Name, set.Allowed)
			}
			s.readPreset(b, &set, into)
			continue
		}
		v := Value{Block: b, name: set.Name, allowed: set.Allowed, expr: attr.Expr}
		if set.Read(v, into) {
			b.understood[set.Name] = v.Pos()
			explain(b, &set, into, v.Pos().String())
		}
	}
	for _, attr := range b.body.Attributes {
		s.expectSetting(b, attr)
	}
}

// readPreset reads the preset's value of a setting that the file does not have. Without one, the default stays.
func (s *Section[T]) readPreset(b *Block, set *Setting[T], into *T) {
	from := fromDefault
	if expr := b.r.preset.value(b.path, set.Name); expr != nil {
		v := Value{Block: b, name: set.Name, allowed: set.Allowed, expr: expr}
		if set.Read(v, into) {
			b.understood[set.Name] = v.Pos()
		}
		from = "profile " + strconv.Quote(b.r.preset.name)
	}
	explain(b, set, into, from)
}

// misspelled reports whether an unknown setting of b gets the fault that name was meant.
func (s *Section[T]) misspelled(b *Block, name string) bool {
	settings, blocks := s.names()
	for written := range b.body.Attributes {
		if near, ok := Nearest(written, settings); ok && near == name && !slices.Contains(settings, written) && !slices.Contains(blocks, written) && s.home(written) == "" {
			return true
		}
	}
	return false
}

// expectSetting adds a fault unless attr is one of the section's settings.
func (s *Section[T]) expectSetting(b *Block, attr *hclsyntax.Attribute) {
	settings, blocks := s.names()
	if slices.Contains(settings, attr.Name) {
		return
	}
	p := posOf(attr.NameRange)
	if slices.Contains(blocks, attr.Name) {
		b.Fault(p, "%s is a block, not a setting; allowed is %s { ... }", attr.Name, s.child(attr.Name).form())
		return
	}
	if home := s.home(attr.Name); home != "" {
		b.Fault(p, "unknown setting %q%s; it belongs in the %s block", attr.Name, b.in(), home)
		return
	}
	b.Fault(p, "unknown setting %q%s; %s", attr.Name, b.in(), Instead(attr.Name, settings))
}

// home returns the nested block that has a setting of that name.
func (s *Section[T]) home(name string) string {
	for _, c := range s.Blocks {
		d := &Description{sections: make([]SectionDoc, 1)}
		c.Describe(d, Place{}, new(T))
		if slices.ContainsFunc(d.sections, func(s SectionDoc) bool {
			return slices.ContainsFunc(s.Settings, func(s SettingDoc) bool { return s.Path == name })
		}) {
			return c.Name
		}
	}
	return ""
}

func (s *Section[T]) names() (settings, blocks []string) {
	for _, set := range s.Settings {
		settings = append(settings, set.Name)
	}
	for _, c := range s.Blocks {
		blocks = append(blocks, c.Name)
	}
	return settings, blocks
}

func (s *Section[T]) child(name string) Child[T] {
	i := slices.IndexFunc(s.Blocks, func(c Child[T]) bool { return c.Name == name })
	return s.Blocks[i]
}

func (s *Section[T]) readBlocks(b *Block, into *T) {
	for _, c := range s.Blocks {
		c.readAll(b, into)
	}
	for _, hb := range b.body.Blocks {
		s.expectBlock(b, hb)
	}
}

// readAll reads every block of the kind c.
func (c Child[T]) readAll(b *Block, into *T) {
	var first Pos
	for _, hb := range b.body.Blocks {
		if hb.Type != c.Name {
			continue
		}
		nested := b.r.block(hb)
		nested.path, nested.titles = append(slices.Clip(b.path), c.Name), append(slices.Clip(b.titles), nested.Name)
		switch {
		case c.once && first != Pos{}:
			b.Fault(nested.Head, "%s is given twice%s; it may stand once, first at %s", c.Name, b.in(), first.SeenFrom(nested.Head))
		case len(hb.Labels) != len(c.Labels):
			b.Fault(nested.Head, "%s has %s; allowed is %s { ... }", c.Name, labelCount(hb.Labels, len(c.Labels)), c.form())
		default:
			c.Read(nested, into)
		}
		if first == (Pos{}) {
			first = nested.Head
		}
	}
	if c.always && first == (Pos{}) {
		c.Read(&Block{r: b.r, Name: c.Name, body: &hclsyntax.Body{}, Head: b.Head, path: []string{c.Name}, titles: []string{c.Name}}, into)
	}
}

// labelCount describes the labels of a block that needs another number of them.
func labelCount(labels []string, needed int) string {
	has := "no label"
	switch {
	case len(labels) == 1:
		has = "one label, " + Quote(labels[0]) + ","
	case len(labels) > 1:
		has = strconv.Itoa(len(labels)) + " labels"
	}
	return has + " and needs " + [...]string{"none", "one", "two"}[needed]
}

// expectBlock adds a fault unless hb is one of the section's blocks.
func (s *Section[T]) expectBlock(b *Block, hb *hclsyntax.Block) {
	settings, blocks := s.names()
	p := posOf(hb.TypeRange)
	switch {
	case slices.Contains(blocks, hb.Type):
	case slices.Contains(settings, hb.Type):
		b.Fault(p, "%s is a setting, not a block; allowed is %s = ...", hb.Type, hb.Type)
	case len(blocks) == 0:
		b.Fault(p, "unknown block %q%s; no block is allowed here, only the settings %s",
			hb.Type, b.in(), strings.Join(settings, ", "))
	default:
		b.Fault(p, "unknown block %q%s; %s", hb.Type, b.in(), Instead(hb.Type, blocks))
	}
}
