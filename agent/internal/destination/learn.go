package destination

import "context"

// learner is a sink that queries the limits and shards of its service, once at the start and then regularly.
type learner interface {
	Learn(ctx context.Context)
	Follow(ctx context.Context)
}

// Learn starts the queries of a sink that is a learner: without the first, events beyond the assumed limits would be rejected
// at ingest and never reach the sink. The returned channel is closed when the queries have ended, after ctx.
func Learn(ctx context.Context, sink any) <-chan struct{} {
	l, ok := sink.(learner)
	done := make(chan struct{})
	if !ok {
		close(done)
		return done
	}
	go func() {
		defer close(done)
		l.Learn(ctx)
		l.Follow(ctx)
	}()
	return done
}
