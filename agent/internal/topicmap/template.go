package topicmap

import (
	"fmt"
	"strconv"
	"strings"
)

// part is literal text, or a value of a publish.
type part struct {
	kind  partKind
	text  string // of a literal
	level int    // of a level
}

type partKind uint8

const (
	literal partKind = iota
	wholeTopic
	topicLevel
	clientID
)

// template is a parsed key template.
type template []part

// parseTemplate parses a key template.
func parseTemplate(text string) (t template, err error) {
	for text != "" {
		before, rest, marked := strings.Cut(text, "${")
		if before != "" {
			t = append(t, part{kind: literal, text: before})
		}
		if !marked {
			break
		}
		name, after, closed := strings.Cut(rest, "}")
		if !closed {
			return nil, fmt.Errorf("${ has no }")
		}
		p, ok := parsePart(name)
		if !ok {
			return nil, fmt.Errorf("${%s} is unknown", name)
		}
		t, text = append(t, p), after
	}
	return t, nil
}

func parsePart(name string) (part, bool) {
	switch name {
	case "topic":
		return part{kind: wholeTopic}, true
	case "client_id":
		return part{kind: clientID}, true
	}
	digits, indexed := strings.CutPrefix(name, "topic[")
	digits, closed := strings.CutSuffix(digits, "]")
	level, err := strconv.Atoi(digits)
	return part{kind: topicLevel, level: level}, indexed && closed && err == nil && level >= 0
}

// fill returns the text of the template for a publish.
func (t template) fill(topic, client string) string {
	if len(t) == 1 { // without a copy
		return t[0].of(topic, client)
	}
	var b strings.Builder
	for _, p := range t {
		b.WriteString(p.of(topic, client))
	}
	return b.String()
}

func (p part) of(topic, client string) string {
	switch p.kind {
	case wholeTopic:
		return topic
	case clientID:
		return client
	case topicLevel:
		return level(topic, p.level)
	}
	return p.text
}

// level returns the level n of the topic, or "".
func level(topic string, n int) string {
	for range n {
		var deeper bool
		if _, topic, deeper = strings.Cut(topic, "/"); !deeper {
			return ""
		}
	}
	first, _, _ := strings.Cut(topic, "/")
	return first
}

// WrongKey returns the fault of a key template for the topics of the filter, or "".
func WrongKey(filter, key string) string {
	t, err := parseTemplate(key)
	if err != nil {
		return "is no template: " + err.Error()
	}
	if len(t) == 0 {
		return "is empty"
	}
	levels := strings.Count(filter, "/") + 1
	for _, p := range t {
		if p.kind == topicLevel && p.level >= levels && !strings.HasSuffix(filter, "#") {
			return fmt.Sprintf("has level %d, and the topics of the filter have the levels 0 to %d", p.level, levels-1)
		}
	}
	return ""
}
