package kafka

import (
	"context"

	"github.com/standpipe/standpipe/shipper"
)

// Check looks up the partitions of the topic, and stores nothing.
func (s *Sink) Check(ctx context.Context) *shipper.Error {
	_, err := s.topic.lookup(ctx)
	return err
}

// Check looks up the partitions of the topic, and stores nothing.
func (s *Exact) Check(ctx context.Context) *shipper.Error {
	_, err := s.topic.lookup(ctx)
	return err
}
