package schema

// SectionDoc is the documentation of one block of the file, or of one type of a block with several types.
type SectionDoc struct {
	Title    string // the first line of the block, as `destination "file" "NAME"`; empty for the file itself
	Meaning  string
	Settings []SettingDoc
}

// SettingDoc is the documentation of one setting, or of a nested block if Block is set.
type SettingDoc struct {
	Path     string // "stream.destination.kinesis.batch.max_delay"
	Name     string // within its section: "batch.max_delay"
	Block    bool
	Type     string // size, duration, ...; empty for a block
	Allowed  string // the values, in words
	Default  string // as in a file, or in words
	Required bool
	Restart  bool // a change takes effect at the next start, not at a reload
	Meaning  string
}

// DescribeTop returns the documentation of every block and setting in s, with the defaults in into, in the order of the schema.
func (s *Section[T]) DescribeTop(meaning string, into *T) []SectionDoc {
	d := &Description{}
	d.Open("", meaning)
	s.Describe(d, Place{}, into)
	return d.sections
}

// Description collects the sections of Describe.
type Description struct{ sections []SectionDoc }

func (d *Description) Open(title, meaning string) {
	d.sections = append(d.sections, SectionDoc{Title: title, Meaning: meaning})
}

func (d *Description) add(s SettingDoc) {
	last := &d.sections[len(d.sections)-1]
	last.Settings = append(last.Settings, s)
}

// Place is the position of a block in the schema.
type Place struct {
	Path    string // the prefix of Setting.Path
	name    string // the prefix of Setting.Name
	Restart bool
}

// Describe adds the settings and the nested blocks of s. into has their defaults.
func (s *Section[T]) Describe(d *Description, at Place, into *T) {
	for _, set := range s.Settings {
		d.add(SettingDoc{
			Path: at.Path + set.Name, Name: at.name + set.Name, Type: set.Kind, Allowed: set.Allowed, Default: set.defaultOf(into),
			Required: set.required, Restart: (at.Restart || set.restart) && !set.reloads, Meaning: set.meaning,
		})
	}
	for _, c := range s.Blocks {
		inside := Place{Path: at.Path + c.Name + ".", name: at.name + c.Name + ".", Restart: at.Restart || c.restart}
		switch {
		case c.Types:
		case at.Path == "":
			inside.name = ""
			d.Open(c.form(), c.Meaning)
		default:
			d.add(SettingDoc{Path: at.Path + c.Name, Name: at.name + c.form(), Block: true, Restart: inside.Restart, Meaning: c.Meaning})
		}
		c.Describe(d, inside, into)
	}
}

// defaultOf returns the default as in a file.
func (s Setting[T]) defaultOf(into *T) string {
	switch {
	case s.required:
		return ""
	case s.otherwise != "":
		return s.otherwise
	}
	return s.Show(into)
}

// None is the default of a setting whose zero value is not allowed in a file.
const None = "none"
