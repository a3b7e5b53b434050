package config_test

import (
	"strings"
	"testing"

	"github.com/standpipe/standpipe/agent/config"
)

func TestMatch(t *testing.T) {
	c := &config.Config{}
	for _, name := range []string{"meter-*", "meter-1", "meter-1*", "*-1", "*.log", "a*b*c", "*x*", "*y*"} {
		c.Streams = append(c.Streams, config.Stream{Name: name})
	}
	for stream, want := range map[string]string{
		"meter-1":  "meter-1",  // the exact name, though patterns match
		"meter-12": "meter-1*", // the longest literal text
		"meter-2":  "meter-*",
		"meter-":   "meter-*", // * may be nothing
		"b-1":      "*-1",
		"app.log":  "*.log",
		"abc":      "a*b*c",
		"aXbXbXc":  "a*b*c",
		"ac":       "",
		"abcd":     "",
		"xy":       "*x*", // the same length: the first in the file
		"yx":       "*x*",
		"y":        "*y*",
		"log":      "",
		"":         "",
		"../x":     "", // not a stream name, although it matches
		"*x*":      "",
	} {
		s, ok := c.Match(stream)
		if got := ok; got != (want != "") {
			t.Errorf("%q: got %v, want %v", stream, got, want != "")
		} else if ok && s.Name != want {
			t.Errorf("%q: got %q, want %q", stream, s.Name, want)
		}
	}
}

func TestMatch_EndsOfAPatternDoNotOverlap(t *testing.T) {
	c := &config.Config{Streams: []config.Stream{{Name: "ab*ba"}}}
	if _, ok := c.Match("aba"); ok {
		t.Error("aba: got a match, want none")
	}
	if _, ok := c.Match("abba"); !ok {
		t.Error("abba: got no match, want one")
	}
}

func TestFor(t *testing.T) {
	d := config.Destination{Stream: "${stream}", DeliveryStream: "x-${stream}", Path: "/out/${stream}/${stream}", Name: "local"}
	want := config.Destination{Stream: "clicks", DeliveryStream: "x-clicks", Path: "/out/clicks/clicks", Name: "local"}
	if got := d.For("clicks"); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestValidStreamName(t *testing.T) {
	for name, want := range map[string]string{
		"clicks":                 "",
		"A.b_c-9":                "",
		"_x":                     "",
		strings.Repeat("a", 128): "",
		"":                       `"" is empty; a name has 1 to 128 characters`,
		strings.Repeat("a", 129): `"` + strings.Repeat("a", 60) + `..." has 129 characters; at most 128 are allowed`,
		".x":                     `".x" starts with "."; a name starts with a letter, a digit or _`,
		"-x":                     `"-x" starts with "-"; a name starts with a letter, a digit or _`,
		"..":                     `".." starts with "."; a name starts with a letter, a digit or _`,
		"a/b":                    `"a/b" has the character '/'; allowed are A-Z a-z 0-9 . _ -`,
		"a b":                    `"a b" has the character ' '; allowed are A-Z a-z 0-9 . _ -`,
		"é":                      `"é" has the character 'é'; allowed are A-Z a-z 0-9 . _ -`,
		"meter-*":                `"meter-*" has the character '*'; allowed are A-Z a-z 0-9 . _ -`,
		"a\x00":                  `"a\x00" has the character '\x00'; allowed are A-Z a-z 0-9 . _ -`,
	} {
		got := ""
		if err := config.ValidStreamName(name); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}
