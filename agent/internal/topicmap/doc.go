// Package topicmap maps the topics of MQTT to streams and partition keys.
//
// # Contract
//
// A Map has routes. Each has a filter with the wildcards of MQTT: + stands for one level, and a # at the end for all further
// levels, also none. The route of a topic is the first one in order whose filter matches. A filter that begins with a
// wildcard matches no topic that begins with $ (MQTT 5, section 4.7.2).
//
// A key template is text with ${topic}, ${topic[N]} and ${client_id}: the topic as a whole, its level N counted from 0, and the
// identifier of the client. A level that the topic does not have is empty.
//
// # Limits
//
// The filters are a tree of levels, so that Find visits a small part of 10,000 filters. It allocates nothing. A Map does not
// change after New, and may be used concurrently.
package topicmap
