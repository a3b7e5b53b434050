package config

import (
	"net"
	"strings"

	"github.com/standpipe/standpipe/agent/config/internal/odd"
	"github.com/standpipe/standpipe/agent/config/internal/pattern"
	"github.com/standpipe/standpipe/agent/config/internal/rule"
	"github.com/standpipe/standpipe/agent/config/internal/schema"
)

// Relay is the settings that only a relay destination has.
type Relay struct {
	Network, Address string // as in Listener
	Stream           string // of the other agent; may contain ${stream}
	TLS              ClientTLS
	Ack              string // durable or delivered
	TokenFile        string // empty: none
}

var relayType = destinationType{
	name:    "relay",
	meaning: "Another standpipe, at its gRPC listener. Each event arrives once.",
	shared:  shared{bandwidth: true, delay: true},
	own: []schema.Setting[Destination]{
		schema.Address("address", func(d *Destination) (*string, *string) { return &d.Relay.Network, &d.Relay.Address }).Needed().
			Means("The address of the other agent's gRPC listener."),
		marked("stream", `the name of a stream, like "orders"`, func(d *Destination) *string { return &d.Relay.Stream }, rule.MarkedStream).
			Means("The stream of the other agent. ${stream} is replaced by the name of the event's stream."),
		schema.Word("ack", func(d *Destination) *string { return &d.Relay.Ack }, "durable", "delivered").
			Means("The time at which events count as delivered: once the other agent has synced them, or once its destinations have them."),
		schema.Text("token_file", "the path of a file with a token", func(d *Destination) *string { return &d.Relay.TokenFile }, schema.NotEmpty).Warns(odd.Path).
			Means("The file with the bearer token for the other agent. A changed file is read again."),
	},
	blocks: []schema.Child[Destination]{
		schema.Inner("tls", &clientTLSSection, func(d *Destination) *ClientTLS { return &d.Relay.TLS }).
			Means("Connects with TLS."),
	},
	check: func(b *schema.Block, d *Destination) {
		if !b.Wrote("address") {
			return
		}
		stateOf(b).relays = append(stateOf(b).relays, taken{by: b.Name, network: d.Relay.Network, address: d.Relay.Address, pos: b.At("address")})
		if d.Relay.TokenFile != "" && !b.Has("tls") && d.Relay.Network == "tcp" && !loopback(d.Relay.Address) {
			b.Fault(b.At("token_file"), "token_file: the token would leave the host without TLS; allowed is token_file beside a tls block, or with a loopback address")
		}
	},
	defaults: func(d *Destination) { d.Relay.Stream, d.Relay.Ack = pattern.StreamMark, "durable" },
}

// checkRelays adds a fault for every relay to a listener of the same file, whose events would go round without end.
func (st *state) checkRelays(b *schema.Block) {
	for _, relay := range st.relays {
		for _, l := range st.taken {
			if relay.reaches(l) {
				b.Fault(relay.pos, "address: %s is the agent's own: %s; allowed is the address of another agent", schema.Quote(relay.address), l.where(relay.pos))
				break
			}
		}
	}
}

// reaches reports whether a connection to t arrives at the listener l of this host.
func (t taken) reaches(l taken) bool {
	if t.network == "unix" || l.network == "unix" {
		return t.meets(l)
	}
	host, port, _ := net.SplitHostPort(l.address)
	to, toPort, _ := net.SplitHostPort(t.address)
	if port != toPort || strings.Trim(port, "0") == "" {
		return false
	}
	return sameHost(host, to) || everyHost(host) && (loopback(t.address) || everyHost(to) || strings.EqualFold(to, hostName()))
}
