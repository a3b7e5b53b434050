package mqttin

import "github.com/mochi-mqtt/server/v2/packets"

const (
	// maxAliases is the topic alias maximum of version 5.
	maxAliases = 32
	// maxAliased is the largest number of bytes of a client's topics with an alias together.
	maxAliased = 16 << 10
)

// aliases are the topics with an alias of one client.
type aliases struct {
	topics map[uint16]string
	bytes  int
}

// resolve returns the topic of a publish, and keeps the alias that it gives to it.
func (a *aliases) resolve(topic string, p *packets.Properties) (string, error) {
	if !p.TopicAliasFlag {
		return topic, nil
	}
	alias := p.TopicAlias
	if alias == 0 || alias > maxAliases {
		return "", packets.ErrTopicAliasInvalid
	}
	before, known := a.topics[alias]
	if topic == "" {
		if !known {
			return "", packets.ErrProtocolViolationNoTopic
		}
		return before, nil
	}
	if a.bytes += len(topic) - len(before); a.bytes > maxAliased {
		return "", packets.ErrQuotaExceeded
	}
	if a.topics == nil {
		a.topics = make(map[uint16]string)
	}
	a.topics[alias] = topic
	return topic, nil
}
