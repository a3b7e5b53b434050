package agent

import (
	"context"
	"time"
)

const (
	// buildsAtOnce bounds the sinks that are built at the same time: each reads files, and an agent may have thousands.
	buildsAtOnce = 8
	// buildSlotTime is how long one of them may keep the others waiting. A folder on a volume that hangs takes longer.
	buildSlotTime = time.Second
)

// buildSlots holds one for each sink that is built now.
type buildSlots chan struct{}

// acquire waits for a turn. release ends it; so does buildSlotTime. It returns false when ctx ends first.
func (b buildSlots) acquire(ctx context.Context) (release func(), ok bool) {
	select {
	case b <- struct{}{}:
	case <-ctx.Done():
		return nil, false
	}
	turn := time.AfterFunc(buildSlotTime, func() { <-b })
	return func() {
		if turn.Stop() {
			<-b
		}
	}, true
}
