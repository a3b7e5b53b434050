package agent

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/standpipe/standpipe/shipper"
)

// brokenSink stands in for a destination that could not be built, for example because the AWS
// profile it names does not exist on this host. Its events wait like those of any destination that
// needs an operator, and each try builds it anew.
type brokenSink struct {
	shape shipper.Shape
	build func() (shipper.Sink, error)

	mu    sync.Mutex // held while it is built
	built atomic.Pointer[shipper.Sink]
}

func (b *brokenSink) Shape() shipper.Shape {
	if built := b.built.Load(); built != nil {
		return (*built).Shape()
	}
	return b.shape
}

func (b *brokenSink) Send(ctx context.Context, batch []shipper.Record) shipper.Reply {
	target, err := b.target()
	if err != nil {
		return shipper.Reply{Code: "configuration", Err: &shipper.Error{
			Class: shipper.Operator, Code: "configuration", Text: err.Error(), Record: -1,
		}}
	}
	return target.Send(ctx, batch)
}

func (b *brokenSink) target() (shipper.Sink, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if built := b.built.Load(); built != nil {
		return *built, nil
	}
	target, err := b.build()
	if err == nil {
		b.built.Store(&target)
	}
	return target, err
}

func (b *brokenSink) Close() error {
	if built := b.built.Load(); built != nil {
		return (*built).Close()
	}
	return nil
}
