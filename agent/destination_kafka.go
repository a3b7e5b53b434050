package agent

import (
	"context"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/ranged"
	"github.com/standpipe/standpipe/shipper/sink/kafka"
)

var kafkaDestination = destinationType{
	shape: func(_ config.Destination, around *shipper.Envelope) (shipper.Shape, error) {
		return kafka.Options{Envelope: around}.Shape(), nil
	},
	open: func(ctx context.Context, s sinkSpec) (shipper.Sink, error) {
		return kafka.New(ctx, kafkaOptions(s))
	},
	openRanged: func(ctx context.Context, s sinkSpec) (ranged.Sink, error) {
		return kafka.NewExact(ctx, kafka.ExactOptions{
			Options: kafkaOptions(s), Destination: s.Name, MaxDelay: s.Batch.MaxDelay, Logger: s.logger,
		})
	},
	ranges:   func(d config.Destination) bool { return d.Kafka.Delivery == "exactly_once" },
	endpoint: func(d config.Destination) string { return "kafka " + string(d.Kafka.Brokers) },

	descriptors: descriptorsOfCloud, usesLink: true,
}

func kafkaOptions(s sinkSpec) kafka.Options {
	d := s.Kafka
	o := kafka.Options{
		Brokers: d.Brokers.Values(), Topic: d.Topic, Stream: s.eventStream, Branches: s.branches, Compression: d.Compression,
		SASL: kafka.SASL{
			Mechanism: d.SASL.Mechanism, Username: d.SASL.Username, PasswordFile: d.SASL.PasswordFile, TokenFile: d.SASL.TokenFile,
		},
		Envelope: s.around, Timeout: s.Retry.Timeout, AWS: awsOptions(s.Destination),
	}
	if t := d.TLS; t.On {
		o.TLS = &kafka.TLS{CAFile: t.CAFile, CertFile: t.CertFile, KeyFile: t.KeyFile, ServerName: t.ServerName}
	}
	return o
}
