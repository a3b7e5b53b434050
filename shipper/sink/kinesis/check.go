package kinesis

import (
	"context"

	"github.com/standpipe/standpipe/shipper"
)

// Check queries the description of the stream, and stores nothing.
func (k *Sink) Check(ctx context.Context) *shipper.Error {
	_, err := k.Describe(ctx)
	return err
}
