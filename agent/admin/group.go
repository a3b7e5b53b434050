package admin

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// ProblemGroup is the problems of one kind that have one cause. A dead endpoint is one group, for however many destinations.
type ProblemGroup struct {
	Problem         // the first one, with the earliest Since of all
	Cause   string  // the first destination's last error; empty: it has none, or the problem concerns the agent
	Members []Place // the destinations; empty: the problem concerns the agent
	Pending uint64  // the sum of their pending events
	Letters uint64  // the sum of their dead letters
}

const kindDeadLetters = "dead_letters"

// unexplained are the kinds of problems of a destination of which its last error is not the cause.
var unexplained = []string{kindDeadLetters, "parked", "paused"}

// Summary describes the group in one line.
func (g *ProblemGroup) Summary() string {
	switch len(g.Members) {
	case 0:
		return g.Kind + ": " + g.Text
	case 1:
		return fmt.Sprintf("%s: %s to %s: %s", g.Kind, g.Stream, g.Destination, g.Text)
	}
	text := fmt.Sprintf("%s: %s", g.Kind, g.Size())
	if g.Cause != "" {
		text += ": " + g.Cause
	}
	return text
}

// Size describes the destinations of the group and the events that the problem concerns.
func (g *ProblemGroup) Size() string {
	if g.Kind == kindDeadLetters {
		return fmt.Sprintf("%d destinations, %s dead letters", len(g.Members), countText(g.Letters))
	}
	return fmt.Sprintf("%d destinations, %s pending", len(g.Members), countText(g.Pending))
}

// Place is a destination of a stream.
type Place struct {
	Stream      string `json:"stream"`
	Destination string `json:"destination"`
}

// ProblemGroups returns the problems by kind and cause, in the order of the first problem of each group.
func (s *Status) ProblemGroups() []ProblemGroup {
	at := make(map[Place]*DestinationStatus)
	for i := range s.Streams {
		for j := range s.Streams[i].Destinations {
			d := &s.Streams[i].Destinations[j]
			at[Place{s.Streams[i].Name, d.Name}] = d
		}
	}
	type key struct{ kind, cause string }
	index := make(map[key]int)
	var groups []ProblemGroup
	for _, p := range s.Problems {
		if p.Destination == "" {
			groups = append(groups, ProblemGroup{Problem: p})
			continue
		}
		place, cause := Place{p.Stream, p.Destination}, ""
		d := at[place]
		if d == nil {
			d = &DestinationStatus{}
		}
		if !slices.Contains(unexplained, p.Kind) {
			cause = d.LastError
		}
		k := key{p.Kind, commonCause(cause, place)}
		i, known := index[k]
		if !known {
			i = len(groups)
			index[k] = i
			groups = append(groups, ProblemGroup{Problem: p, Cause: cause})
		}
		g := &groups[i]
		g.Members = append(g.Members, place)
		g.Pending += d.Pending.Events
		g.Letters += d.DeadLetters
		if p.Since.Before(g.Since.Time) {
			g.Since = p.Since
		}
	}
	return groups
}

// Healthy reports whether every destination of the stream is running or forgotten, and no problem of s names the stream.
func (s *Status) Healthy(stream *StreamStatus) bool {
	for i := range stream.Destinations {
		if state := stream.Destinations[i].State; state != Running && state != Forgotten {
			return false
		}
	}
	for i := range s.Problems {
		if s.Problems[i].Stream == stream.Name {
			return false
		}
	}
	return true
}

// The lengths from which a word with a digit is taken for a request's ID, and a number for a port or an account.
const (
	minSerial = 16
	minNumber = 4
)

// commonCause returns an error text without the words that differ between destinations with one cause: the names of the
// stream and the destination, IDs of requests, ports and other long numbers.
func commonCause(text string, of Place) string {
	var b strings.Builder
	for len(text) > 0 {
		end := strings.IndexFunc(text, func(r rune) bool { return !isWordRune(r) })
		if end < 0 {
			end = len(text)
		}
		word := strings.TrimRight(text[:end], "-_.")
		if word == of.Stream || word == of.Destination || isSerial(word) {
			b.WriteString("…")
		} else {
			b.WriteString(word)
		}
		next := strings.IndexFunc(text[end:], isWordRune)
		if next < 0 {
			next = len(text) - end
		}
		b.WriteString(text[end : end+next])
		text = text[end+next:]
	}
	return b.String()
}

func isWordRune(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' || r == '_' || r == '.'
}

func isSerial(word string) bool {
	digits := 0
	for _, r := range word {
		if unicode.IsDigit(r) {
			digits++
		}
	}
	return len(word) >= minNumber && digits == len(word) || digits > 0 && len(word) >= minSerial
}
