package config

import (
	"slices"

	"github.com/standpipe/standpipe/agent/config/internal/schema"
)

// sharedDestination is a destination block of the file, for several streams.
type sharedDestination struct {
	b    *schema.Block
	t    *destinationType
	d    Destination
	used bool // by a stream
}

// use is the name of a shared destination in a stream block.
type use struct {
	name string
	pos  Pos
}

var sharedDestinations = schema.Child[Config]{
	Name: "destination", Labels: []string{"TYPE", "NAME"}, Types: true, Read: readShared,
	Describe: func(d *schema.Description, _ schema.Place, _ *Config) {
		d.Open(`destination "TYPE" "NAME"`, "A destination for the streams that have its name in destinations. Each stream has a cursor of its own there. "+
			"The settings are those of a destination in a stream block.")
	},
}

func readShared(b *schema.Block, _ *Config) {
	t, ok := typeOfBlock(b)
	if !ok {
		return
	}
	for _, other := range stateOf(b).shared {
		if other.d.Name == b.Labels[1] {
			b.Fault(b.LabelPos[1], "destination %s is given twice; a name may stand once, first at %s", schema.Quote(other.d.Name), other.d.Pos.SeenFrom(b.Head))
			return
		}
	}
	stateOf(b).shared = append(stateOf(b).shared, sharedDestination{b: b, t: t, d: t.readBlock(b)})
}

const sharedNames = `a list of names that destination blocks of the file have, like ["archive"]`

// uses is a setting of the names of shared destinations. checkStream looks them up after the blocks of the stream are read.
func uses(name string) schema.Setting[Stream] {
	show := func(*Stream) string { return "[]" }
	return schema.Setting[Stream]{Name: name, Allowed: sharedNames, Kind: "list", Show: show, Read: func(v schema.Value, _ *Stream) bool {
		elements, ok := v.Elements()
		if !ok {
			return false
		}
		for _, e := range elements {
			name, ok := e.Text()
			if !ok {
				return false
			}
			stateOf(v.Block).uses = append(stateOf(v.Block).uses, use{name, e.Pos()})
		}
		return true
	}}
}

// addShared gives the stream a copy of each shared destination that it names.
func addShared(b *schema.Block, s *Stream) {
	for i, u := range stateOf(b).uses {
		if slices.ContainsFunc(stateOf(b).uses[:i], func(o use) bool { return o.name == u.name }) {
			b.Fault(u.pos, "destinations: %s is given twice; a name may stand once", schema.Quote(u.name))
			continue
		}
		at := slices.IndexFunc(stateOf(b).shared, func(o sharedDestination) bool { return o.d.Name == u.name })
		if at < 0 {
			b.Fault(u.pos, "destinations: no destination block of the file is called %s; %s", schema.Quote(u.name), stateOf(b).insteadOf(u.name))
			continue
		}
		if own := slices.IndexFunc(s.Destinations, func(d Destination) bool { return d.Name == u.name }); own >= 0 {
			b.Fault(u.pos, "destinations: %s is the name of a destination in %s too, at %s; allowed is a name of its own",
				schema.Quote(u.name), b.Name, s.Destinations[own].Pos.SeenFrom(u.pos))
			continue
		}
		stateOf(b).shared[at].used = true
		d := stateOf(b).shared[at].d
		checkDestination(stateOf(b).shared[at].b, s, &d)
		s.Destinations = append(s.Destinations, d)
	}
}

// insteadOf returns the end of a fault about an unknown shared destination.
func (st *state) insteadOf(name string) string {
	if len(st.shared) == 0 {
		return `the file has none; needed is a block destination "TYPE" "NAME" outside of all streams`
	}
	var known []string
	for _, s := range st.shared {
		known = append(known, s.d.Name)
	}
	return schema.Instead(name, known)
}
