package destination

import (
	"context"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/ranged"
	"github.com/standpipe/standpipe/shipper/sink/relay"
)

var relayDestination = Type{
	shape: func(config.Destination, *shipper.Envelope) (shipper.Shape, error) {
		return relay.Options{}.Shape(), nil
	},
	openRanged: func(_ context.Context, s Spec) (ranged.Sink, error) {
		return relay.New(relayOptions(&s))
	},
	predict: func(d config.Destination, _ shipper.Shape, t shipper.Traffic) shipper.Forecast {
		return relay.Options{MaxDelay: d.Batch.MaxDelay}.Predict(t)
	},
	endpoint: relayAddress, Descriptors: ofRanges, memory: constant(4 << 20), UsesLink: true,
}

func relayOptions(s *Spec) relay.Options {
	r := &s.Relay
	o := relay.Options{
		Address: relayAddress(s.Destination), Stream: r.Stream, Source: s.EventStream, Destination: s.Name, Branches: s.Branches,
		Ack: relay.AckDurable, TokenFile: r.TokenFile, MaxDelay: s.Batch.MaxDelay, Timeout: s.Retry.Timeout,
	}
	if r.Ack == "delivered" {
		o.Ack = relay.AckDelivered
	}
	if r.TLS.On {
		o.TLS = &relay.TLS{CAFile: r.TLS.CAFile, CertFile: r.TLS.CertFile, KeyFile: r.TLS.KeyFile, ServerName: r.TLS.ServerName}
	}
	if s.Upstreams != nil {
		self, stream := LogID(s.Branches), s.EventStream
		o.Path = func() string { return s.Upstreams.Path(self, stream) }
	}
	return o
}

// relayAddress returns the address in the form that package client takes.
func relayAddress(d config.Destination) string {
	if d.Relay.Network == "unix" {
		return "unix://" + d.Relay.Address
	}
	return d.Relay.Address
}
