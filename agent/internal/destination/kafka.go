package destination

import (
	"context"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/ranged"
	"github.com/standpipe/standpipe/shipper/sink/kafka"
)

var kafkaDestination = Type{
	shape: func(_ config.Destination, around *shipper.Envelope) (shipper.Shape, error) {
		return kafka.Options{Envelope: around}.Shape(), nil
	},
	open: func(ctx context.Context, s Spec) (shipper.Sink, error) {
		return kafka.New(ctx, kafkaOptions(s))
	},
	openRanged: func(ctx context.Context, s Spec) (ranged.Sink, error) {
		return kafka.NewExact(ctx, kafka.ExactOptions{
			Options: kafkaOptions(s), Destination: s.Name, MaxDelay: s.Batch.MaxDelay, Logger: s.Logger,
		})
	},
	ranges:   func(d config.Destination) bool { return d.Kafka.Delivery == "exactly_once" },
	endpoint: func(d config.Destination) string { return "kafka " + string(d.Kafka.Brokers) },

	Descriptors: ofCloud, UsesLink: true,
}

func kafkaOptions(s Spec) kafka.Options {
	d := s.Kafka
	o := kafka.Options{
		Brokers: d.Brokers.Values(), Topic: d.Topic, Stream: s.EventStream, Branches: s.Branches, Compression: d.Compression,
		SASL: kafka.SASL{
			Mechanism: d.SASL.Mechanism, Username: d.SASL.Username, PasswordFile: d.SASL.PasswordFile, TokenFile: d.SASL.TokenFile,
		},
		Envelope: s.Around, Timeout: s.Retry.Timeout, AWS: awsOptions(s.Destination),
	}
	if t := d.TLS; t.On {
		o.TLS = &kafka.TLS{CAFile: t.CAFile, CertFile: t.CertFile, KeyFile: t.KeyFile, ServerName: t.ServerName}
	}
	return o
}
