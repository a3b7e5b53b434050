//go:build unix

package e2e_test

import (
	"fmt"
	"testing"
)

// A checker records the sent events, in order, and judges the delivered ones. Lines are compared byte for byte; equal
// lines of one key count one after another.
type checker struct {
	keys map[string]*keyHistory
	owed int // acked events
}

type keyHistory struct {
	ordinals map[string][]int // a line's places in the key's order
	owed     []bool           // by ordinal: it was acked, so it must arrive
}

func newChecker() *checker { return &checker{keys: make(map[string]*keyHistory)} }

// send notes an event; owed reports whether it was acked. Other events may arrive.
func (c *checker) send(e event, owed bool) {
	k := c.keys[e.key]
	if k == nil {
		k = &keyHistory{ordinals: make(map[string][]int)}
		c.keys[e.key] = k
	}
	k.ordinals[e.data] = append(k.ordinals[e.data], len(k.owed))
	k.owed = append(k.owed, owed)
	if owed {
		c.owed++
	}
}

// owing notes events that were all acked.
func owing(events []event) *checker {
	c := newChecker()
	for _, e := range events {
		c.send(e, true)
	}
	return c
}

// verdict is the result of a checker. Events that were not acked and arrived count in events alone.
type verdict struct {
	events     int // that arrived, duplicates included
	duplicates int
	missing    int // acked, never arrived
	foreign    int // never sent
	disorder   int // first arrivals that came after a later one of their key
	first      string
}

func (v verdict) String() string {
	return fmt.Sprintf("%d events, %d duplicates, %d missing, %d foreign, %d out of order %s",
		v.events, v.duplicates, v.missing, v.foreign, v.disorder, v.first)
}

// judge compares the delivered events, in their order of arrival per key.
func (c *checker) judge(arrived []event) verdict {
	v := verdict{events: len(arrived)}
	seen := make(map[string]map[int]bool)
	last := make(map[string]int)
	times := make(map[event]int)
	for i, e := range arrived {
		c.judgeOne(&v, i, e, seen, last, times)
	}
	for key, k := range c.keys {
		for ordinal, owed := range k.owed {
			if owed && !seen[key][ordinal] {
				v.missing++
				v.note("missing: number %d of key %s", ordinal+1, key)
			}
		}
	}
	return v
}

func (c *checker) judgeOne(v *verdict, i int, e event, seen map[string]map[int]bool, last map[string]int, times map[event]int) {
	var ordinals []int
	if k := c.keys[e.key]; k != nil {
		ordinals = k.ordinals[e.data]
	}
	n := times[e]
	times[e]++
	switch {
	case len(ordinals) == 0:
		v.foreign++
		v.note("foreign: arrival %d of key %.40q, %d bytes", i, e.key, len(e.data))
		return
	case n >= len(ordinals):
		v.duplicates++
		return
	}
	ordinal := ordinals[n]
	if seen[e.key] == nil {
		seen[e.key] = make(map[int]bool)
	}
	seen[e.key][ordinal] = true
	if ordinal+1 < last[e.key] {
		v.disorder++
		v.note("out of order: number %d of key %s after number %d", ordinal+1, e.key, last[e.key])
	}
	last[e.key] = max(last[e.key], ordinal+1)
}

// note keeps the first fault's text.
func (v *verdict) note(format string, args ...any) {
	if v.first == "" {
		v.first = "(first: " + fmt.Sprintf(format, args...) + ")"
	}
}

// expectWhole fails the test unless all acked events arrived in order, and nothing else did but
// duplicates, at most so many.
func (c *checker) expectWhole(t *testing.T, name string, arrived []event, duplicates int) verdict {
	t.Helper()
	v := c.judge(arrived)
	if v.missing > 0 || v.foreign > 0 || v.disorder > 0 || v.duplicates > duplicates {
		t.Errorf("%s: got %v, want all of %d acked and at most %d duplicates", name, v, c.owed, duplicates)
	}
	return v
}

// The judge is judged first: it must find every fault that is planted.
func TestChecker_FindsPlantedFaults(t *testing.T) {
	sent := readings(1, 300)
	for _, test := range []struct {
		name  string
		plant func([]event) []event
		want  verdict
	}{
		{"calm", func(e []event) []event { return e }, verdict{events: 300}},
		{"lost", func(e []event) []event { return append(e[:100], e[101:]...) }, verdict{events: 299, missing: 1}},
		{"twice", func(e []event) []event { return append(e, e[42]) }, verdict{events: 301, duplicates: 1}},
		{"swapped", swapOneKey, verdict{events: 300, disorder: 1}},
		{"a byte off", flipByte, verdict{events: 300, missing: 1, foreign: 1}},
		{"another's key", func(e []event) []event { e[9].key = "nobody"; return e }, verdict{events: 300, missing: 1, foreign: 1}},
		{"nothing", func([]event) []event { return nil }, verdict{missing: 300}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := owing(sent).judge(test.plant(append([]event(nil), sent...)))
			got.first = ""
			if got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestChecker_AllowsEventsWithoutAck(t *testing.T) {
	sent := readings(1, 300)
	c := newChecker()
	for i, e := range sent {
		c.send(e, i < 200)
	}
	got := c.judge(sent[:250])
	if want := (verdict{events: 250}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

// swapOneKey turns the first event of a key and the next one of it round.
func swapOneKey(e []event) []event {
	for i := 1; i < len(e); i++ {
		if e[i].key == e[0].key {
			e[0], e[i] = e[i], e[0]
			return e
		}
	}
	return e
}

func flipByte(e []event) []event {
	b := []byte(e[17].data)
	b[len(b)/2] ^= 1
	e[17].data = string(b)
	return e
}
