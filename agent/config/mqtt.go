package config

import (
	"github.com/standpipe/standpipe/agent/config/internal/rule"
	"github.com/standpipe/standpipe/agent/config/internal/schema"
	"github.com/standpipe/standpipe/agent/internal/topicmap"
)

// Topic maps the topics of a filter to a stream; mqtt. Exactly one of Key and KeyField is set.
type Topic = topicmap.Route

const topicKey = `a text that contains a part of the topic, like "${topic[3]}"`

var websocketOrigins = schema.Strings("cors_origins", `a list of origins, like ["https://shop.example"], or ["*"]`, func(l *Listener) *[]string { return &l.HTTP.CORSOrigins }, rule.Origin).
	Means("The origins of the pages that may connect by websocket.")

var (
	topicBlock = schema.Child[Listener]{Name: "topic", Labels: []string{"FILTER"}, Read: readTopic,
		Describe: func(d *schema.Description, at schema.Place, _ *Listener) {
			topicSection.Describe(d, at, &Topic{Key: "${topic}"})
		},
		Meaning: "The stream of the topics that match the filter, with the wildcards + and #. The first block that matches counts. A publish to no match is rejected."}

	topicSection = schema.Section[Topic]{
		Settings: []schema.Setting[Topic]{
			schema.Text("stream", streamOfFile, func(t *Topic) *string { return &t.Stream }, rule.Stream).Needed().
				Means("The target stream."),
			schema.Text("key", topicKey, func(t *Topic) *string { return &t.Key }, schema.NotEmpty).MayContain("topic", "topic[N]", "client_id").
				Means("The partition key. ${topic} is replaced by the topic, ${topic[N]} by its level N, counted from 0, and ${client_id} by the client identifier."),
			schema.Text("key_field", `a field of a JSON payload, like "device.id"`, func(t *Topic) *string { return &t.KeyField }, rule.Field).
				Means("The field of a JSON payload with the partition key, in place of key."),
		},
		Check: checkTopic,
	}
)

func readTopic(b *schema.Block, l *Listener) {
	t := Topic{Filter: b.Labels[0], Key: "${topic}"}
	if wrong := topicmap.WrongFilter(t.Filter); wrong != "" {
		b.Fault(b.LabelPos[0], `topic filter %s %s; allowed is a filter like "site/+/sensor/#"`, schema.Quote(t.Filter), wrong)
		return
	}
	topicSection.Read(b, &t)
	l.Topics = append(l.Topics, t)
	l.topicPos = append(l.topicPos, b.LabelPos[0])
}

func checkTopic(b *schema.Block, t *Topic) {
	refer(b, "stream", t.Stream)
	switch {
	case b.Wrote("key_field") && b.Wrote("key"):
		b.Fault(b.At("key_field"), "key_field: %s has a key too; allowed is one of the two", b.Name)
	case b.Wrote("key_field"):
		t.Key = ""
	case !b.Misread("key"):
		if wrong := topicmap.WrongKey(t.Filter, t.Key); wrong != "" {
			b.Fault(b.At("key"), "key: %s %s; allowed is %s", schema.Quote(t.Key), wrong, topicKey)
		}
	}
}

// maxCovered bounds the topic blocks that are compared with each other.
const maxCovered = 1000

// checkTopics checks the topic blocks of an MQTT listener together.
func checkTopics(b *schema.Block, l *Listener) {
	if l.Type != mqttType {
		return
	}
	if !b.Has("topic") {
		b.Fault(b.Head, `%s has no topic block; needed is at least one, like topic "site/#" { stream = "readings" }`, b.Name)
	}
	for i, t := range l.Topics[:min(len(l.Topics), maxCovered)] {
		for j, earlier := range l.Topics[:i] {
			if topicmap.Covers(earlier.Filter, t.Filter) {
				b.Warn(l.topicPos[i], "topic %s is never used: %s at %s matches all its topics, and the first match counts",
					schema.Quote(t.Filter), schema.Quote(earlier.Filter), l.topicPos[j].SeenFrom(l.topicPos[i]))
				break
			}
		}
	}
	l.topicPos = nil
}
