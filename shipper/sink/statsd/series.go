package statsd

import (
	"encoding/binary"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	other = "other" // the name, and the tags, of events that have no series of their own

	// seriesAge is the time after which a series without an event gives its place to another.
	seriesAge = time.Hour
	// mostValues is the number of values of timers and distributions in a range.
	mostValues = 100_000
	// maxPrefix is the longest name of a series with its tags. Longer ones count under other.
	maxPrefix = 1000
)

// series is a metric with its tags.
type series struct {
	name, tags string // of its lines, before and behind the value
	seen       time.Time
	events     uint64
	invalid    bool // it counts events without a value

	sum     float64 // of a counter
	last    float64 // of a gauge
	sampled []sample
	stratum stratum
}

// sample is a value that stands for weight values.
type sample struct {
	value  float64
	weight int
}

// stratum is a run of values. One of them is chosen.
type stratum struct {
	chosen float64
	values int
}

// add adds an event with its value.
func (s *series) add(kind Kind, value float64, stands int) (values int) {
	s.events++
	if s.invalid {
		return 0
	}
	switch kind {
	case Counter:
		s.sum += value
	case Gauge:
		s.last = value
	default: // of stands values one is chosen, each with the same probability
		s.stratum.values++
		if rand.IntN(s.stratum.values) == 0 {
			s.stratum.chosen = value
		}
		if s.stratum.values == stands {
			s.endStratum()
			return 1
		}
	}
	return 0
}

func (s *series) endStratum() {
	if s.stratum.values > 0 {
		s.sampled = append(s.sampled, sample{s.stratum.chosen, s.stratum.values})
		s.stratum = stratum{}
	}
}

// reset begins the next range.
func (s *series) reset() {
	s.events, s.sum, s.last, s.sampled, s.stratum = 0, 0, 0, nil, stratum{}
}

// appendLines appends the lines of the series. Each line is complete in lines.
func (s *series) appendLines(lines []string, o *Options) []string {
	line := func(value, typ string) { lines = append(lines, s.name+":"+value+"|"+typ+s.tags) }
	switch {
	case s.events == 0:
	case s.invalid:
		line(strconv.FormatUint(s.events, 10), "c")
	case o.Kind == Counter && o.ValueField == "":
		line(strconv.FormatUint(s.events, 10), "c")
	case o.Kind == Counter:
		line(format(s.sum), "c")
	case o.Kind == Gauge:
		if s.last < 0 && o.Flavor != FlavorDogStatsD {
			// A sign means a change of the gauge. Both lines are one entry, so that they share a datagram.
			lines = append(lines, s.name+":0|g"+s.tags+"\n"+s.name+":"+format(s.last)+"|g"+s.tags)
			break
		}
		line(format(s.last), "g")
	default:
		s.endStratum()
		typ := "ms"
		if o.Kind == Distribution {
			typ = "d"
		}
		for _, v := range s.sampled {
			line(format(v.value), typ+rate(v.weight))
		}
	}
	return lines
}

// rate returns the sample rate of a value that stands for weight values. It is rounded down: servers round its inverse down
// to a whole number.
func rate(weight int) string {
	if weight == 1 {
		return ""
	}
	return "|@" + strconv.FormatFloat(math.Floor(1e9/float64(weight))/1e9, 'f', -1, 64)
}

// format returns a number without an exponent, which some servers do not read.
func format(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// table has the series of a range, and those of earlier ranges that keep their place.
type table struct {
	o      *Options
	fields *fields // the name, the value, and the tags
	stands int     // the number of values that a sampled value stands for
	all    map[string]*series
	rest   *series // of the name other
	broken *series // of the name other, for events without a value
	key    []byte
	values int // of all series
	events int
}

func newTable(o *Options) *table {
	return &table{
		o: o, fields: newFields(append([]string{o.NameField, o.ValueField}, o.Tags...)...),
		stands: int(math.Round(1 / o.SampleRate)), all: make(map[string]*series),
	}
}

// add counts an event.
func (t *table) add(data []byte, now time.Time) {
	t.events++
	object := t.fields.read(data)
	values := t.fields.values
	for i := range values[2:] {
		values[2+i] = head(values[2+i], maxTag)
	}
	name, value, valid := string(head(values[0], maxName)), 1.0, true
	if t.o.ValueField != "" {
		value, valid = number(values[1])
	}
	if !object || name == "" {
		name = other
	}
	s := t.find(name, values[2:], !valid, now)
	t.values += s.add(t.o.Kind, value, t.stands)
}

// find returns the series of a name and tags.
func (t *table) find(name string, tags [][]byte, invalid bool, now time.Time) *series {
	t.key = append(t.key[:0], name...)
	if !t.o.named() {
		t.key = t.key[:0]
	}
	for _, tag := range tags {
		t.key = append(append(t.key, 0), tag...)
	}
	for _, tag := range tags { // a value may have a zero byte too
		t.key = binary.BigEndian.AppendUint16(t.key, uint16(len(tag)))
	}
	last := byte(0)
	if invalid {
		last = 1
	}
	t.key = append(t.key, last)
	s := t.all[string(t.key)] // does not allocate
	if s == nil {
		s = t.admit(name, tags, invalid)
	}
	s.seen = now
	return s
}

// admit makes the series of key, if there is a place for one, and returns a series of other if not.
func (t *table) admit(name string, tags [][]byte, invalid bool) *series {
	shown := make([]string, len(tags))
	for i := range tags {
		shown[i] = string(tags[i])
	}
	s := t.newSeries(name, shown, invalid)
	reserved := 1
	if t.o.ValueField != "" {
		reserved++
	}
	if len(t.all) < t.o.MaxSeries-reserved && len(s.name)+len(s.tags) <= maxPrefix {
		t.all[string(t.key)] = s
		return s
	}
	rest := &t.rest
	if invalid {
		rest = &t.broken
	}
	if *rest == nil {
		for i := range shown {
			shown[i] = other
		}
		*rest = t.newSeries(other, shown, invalid)
	}
	return *rest
}

func (t *table) newSeries(name string, tags []string, invalid bool) *series {
	s := &series{invalid: invalid}
	s.name = strings.ReplaceAll(t.o.Metric, nameMark, clean(name, maxName, true))
	if invalid {
		s.name += ".invalid"
	}
	var b strings.Builder
	for i, value := range tags {
		if value == "" {
			continue
		}
		tag := t.o.Tags[i]
		switch t.o.Flavor {
		case FlavorStatsD:
			b.WriteString("." + clean(tag, maxTag, false) + "." + clean(value, maxTag, false))
		case FlavorInflux:
			b.WriteString("," + tag + "=" + clean(value, maxTag, true))
		default:
			before := ","
			if b.Len() == 0 {
				before = "|#"
			}
			b.WriteString(before + tag + ":" + clean(value, maxTag, true))
		}
	}
	if t.o.Flavor == FlavorDogStatsD {
		s.tags = b.String()
		return s
	}
	s.name += b.String()
	return s
}

// datagrams returns the lines of all series, in datagrams of up to limit bytes, and the number of lines.
func (t *table) datagrams(limit int) (all [][]byte, lines int) {
	var busy []*series
	for _, key := range slices.Sorted(maps.Keys(t.all)) {
		busy = append(busy, t.all[key])
	}
	for _, s := range []*series{t.rest, t.broken} {
		if s != nil {
			busy = append(busy, s)
		}
	}
	var own []string
	for _, s := range busy {
		own = s.appendLines(own[:0], t.o)
		lines += len(own)
		for _, line := range own {
			last := len(all) - 1
			if last < 0 || len(all[last])+1+len(line) > limit {
				all = append(all, []byte(line))
				continue
			}
			all[last] = append(append(all[last], '\n'), line...)
		}
	}
	return all, lines
}

// reset begins the next range. Series that had no event for seriesAge lose their place.
func (t *table) reset(now time.Time) {
	t.values, t.events = 0, 0
	for key, s := range t.all {
		if s.reset(); now.Sub(s.seen) >= seriesAge {
			delete(t.all, key)
		}
	}
	t.rest, t.broken = nil, nil
}
