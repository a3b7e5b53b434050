package destination

import (
	"context"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/wal"
)

// checker is a sink that can try its destination without storing anything.
type checker interface {
	Check(ctx context.Context) *shipper.Error
}

// Check tries the destination of a stream, and stores nothing. checked is false for a type that has no such request. An error
// is a sink that cannot be built, such as for a missing file. d is not of type file, whose sink begins with the files that
// are there.
func Check(ctx context.Context, d config.Destination, stream string) (failure *shipper.Error, checked bool, err error) {
	target, err := Open(ctx, Spec{
		Destination: d.For(stream), EventStream: stream, Branches: []wal.Branch{{ID: "check"}}, Logger: hclog.NewNullLogger(), Cursor: new(wal.Cursor),
	})
	if err != nil {
		return nil, false, err
	}
	var sink interface{ Close() error } = target.Batches
	if target.Ranges != nil {
		sink = target.Ranges
	}
	defer sink.Close()
	c, ok := sink.(checker)
	if !ok {
		return nil, false, nil
	}
	return c.Check(ctx), true, nil
}
