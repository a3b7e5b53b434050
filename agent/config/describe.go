package config

// Section is the documentation of one block of the file, or of one type of a block with several types.
type Section struct {
	Title    string // the first line of the block, as `destination "file" "NAME"`; empty for the file itself
	Meaning  string
	Settings []Setting
}

// Setting is the documentation of one setting, or of a nested block if Block is set.
type Setting struct {
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

// describeTop returns the documentation of every block and setting in s, with the defaults in into, in the order of the schema.
func (s *section[T]) describeTop(meaning string, into *T) []Section {
	d := &description{}
	d.open("", meaning)
	s.describe(d, place{}, into)
	return d.sections
}

// description collects the sections of Describe.
type description struct{ sections []Section }

func (d *description) open(title, meaning string) {
	d.sections = append(d.sections, Section{Title: title, Meaning: meaning})
}

func (d *description) add(s Setting) {
	last := &d.sections[len(d.sections)-1]
	last.Settings = append(last.Settings, s)
}

// place is the position of a block in the schema.
type place struct {
	path    string // the prefix of Setting.Path
	name    string // the prefix of Setting.Name
	restart bool
}

// describe adds the settings and the nested blocks of s. into has their defaults.
func (s *section[T]) describe(d *description, at place, into *T) {
	for _, set := range s.settings {
		d.add(Setting{
			Path: at.path + set.name, Name: at.name + set.name, Type: set.kind, Allowed: set.allowed, Default: set.defaultOf(into),
			Required: set.required, Restart: (at.restart || set.restart) && !set.reloads, Meaning: set.meaning,
		})
	}
	for _, c := range s.blocks {
		inside := place{path: at.path + c.name + ".", name: at.name + c.name + ".", restart: at.restart || c.restart}
		switch {
		case c.types:
		case at.path == "":
			inside.name = ""
			d.open(c.form(), c.meaning)
		default:
			d.add(Setting{Path: at.path + c.name, Name: at.name + c.form(), Block: true, Restart: inside.restart, Meaning: c.meaning})
		}
		c.describe(d, inside, into)
	}
}

// defaultOf returns the default as in a file.
func (s setting[T]) defaultOf(into *T) string {
	switch {
	case s.required:
		return ""
	case s.otherwise != "":
		return s.otherwise
	}
	return s.show(into)
}

// none is the default of a setting whose zero value is not allowed in a file.
const none = "none"
