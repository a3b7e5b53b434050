package agent

import (
	"context"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/ranged"
	"github.com/standpipe/standpipe/shipper/sink/relay"
)

var relayDestination = destinationType{
	shape: func(config.Destination, *shipper.Envelope) (shipper.Shape, error) {
		return relay.Options{}.Shape(), nil
	},
	openRanged: func(_ context.Context, s sinkSpec) (ranged.Sink, error) {
		return relay.New(relayOptions(&s))
	},
	endpoint: relayAddress, descriptors: descriptorsOfRanges, usesLink: true,
}

func relayOptions(s *sinkSpec) relay.Options {
	r := &s.Relay
	o := relay.Options{
		Address: relayAddress(s.Destination), Stream: r.Stream, Source: s.eventStream, Destination: s.Name, Branches: s.branches,
		TokenFile: r.TokenFile, MaxDelay: s.Batch.MaxDelay, Timeout: s.Retry.Timeout,
	}
	if r.TLS.On {
		o.TLS = &relay.TLS{CAFile: r.TLS.CAFile, CertFile: r.TLS.CertFile, KeyFile: r.TLS.KeyFile, ServerName: r.TLS.ServerName}
	}
	if s.upstreams != nil {
		self, stream := identityOf(s.branches), s.eventStream
		o.Path = func() string { return s.upstreams.Path(self, stream) }
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

// Arrived records the path of a request that another agent relays. An error: it has come in a loop.
func (s *streams) Arrived(stream, path string) error {
	return s.upstreams.Arrived(identityOf(s.log.Branches(stream)), stream, path)
}
