package s3

import (
	"context"
	"time"

	"github.com/standpipe/standpipe/shipper"
)

// Check begins an upload with the settings of the destination and aborts it, so it stores nothing.
func (s *Sink) Check(ctx context.Context) *shipper.Error {
	if err := s.bucket.Try(ctx, s.names.prefix.expand(time.Now())+"standpipe-check"); err != nil {
		return classify(err)
	}
	return nil
}
