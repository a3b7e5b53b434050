package replay

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/agent/internal/destination"
	"github.com/standpipe/standpipe/shipper"
)

const (
	// memory is the bytes of the events that a replay holds.
	memory = 4 << 20
	// quotaPart is the divisor of a known quota that a replay takes.
	quotaPart = 4
	// cancelGrace is how long a cancelled replay waits for the requests under way.
	cancelGrace = 3 * time.Second
)

// errCancelled is the cause of a replay's end by Cancel.
var errCancelled = errors.New("cancelled by an operator")

// job is one replay.
type job struct {
	request admin.ReplayRequest
	from    uint64
	cursor  *cursor
	source  *source
	sink    shipper.Sink
	shipper *shipper.Shipper
	cancel  context.CancelCauseFunc
	ended   chan struct{} // closed after the last change of the result
	started time.Time

	mu       sync.Mutex
	state    admin.ReplayState // guarded by mu
	failure  error             // guarded by mu
	finished time.Time         // guarded by mu
}

// run sends the range. The end of ctx cancels it, with its cause. stop ends it too.
func (j *job) run(ctx context.Context, stop []<-chan struct{}, causes []error) {
	defer close(j.ended)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-stop[0]:
			j.cancel(causes[0])
		case <-stop[1]:
			j.cancel(causes[1])
		case <-ctx.Done():
		}
		grace, cancel := context.WithTimeout(context.Background(), cancelGrace)
		defer cancel()
		j.shipper.Halt(grace)
		select {
		case <-grace.Done():
		case <-j.shipper.Ended():
		}
	}()
	learning, stopLearning := context.WithCancel(context.WithoutCancel(ctx))
	learned := destination.Learn(learning, j.sink)
	err := j.shipper.Run(context.WithoutCancel(ctx))
	cause := context.Cause(ctx)
	j.cancel(nil) // the watcher ends
	<-watched
	stopLearning()
	<-learned
	if errors.Is(err, shipper.ErrStuck) { // a request still uses the sink
		go func() {
			<-j.shipper.Ended()
			j.sink.Close()
		}()
	} else {
		j.sink.Close()
	}

	j.mu.Lock()
	defer j.mu.Unlock()
	j.finished, j.state = time.Now(), admin.ReplayDone
	if lost, ok := errors.AsType[*gone](j.failure); ok {
		j.failure = lost.now(j.source.Source, j.cursor.stream)
	}
	j.failure = cmp.Or(cause, j.failure, err)
	switch {
	case cause != nil:
		j.state = admin.ReplayCancelled
	case j.failure != nil:
		j.state = admin.ReplayFailed
	}
}

// allRead is called when all of the range that can be read was read. The failure of a later call concerns an earlier offset.
func (j *job) allRead(failure error) {
	j.mu.Lock()
	if failure != nil {
		j.failure = failure
	}
	j.mu.Unlock()
	j.shipper.Finish()
}

func (j *job) running() bool {
	select {
	case <-j.ended:
		return false
	default:
		return true
	}
}

// report returns the progress.
func (j *job) report() admin.Replay {
	offset, sent, rejected := j.cursor.result()
	j.mu.Lock()
	defer j.mu.Unlock()
	r := admin.Replay{
		Stream: j.cursor.stream, Destination: j.cursor.name, State: j.state, From: j.from, To: j.cursor.to, Keys: j.request.Keys,
		Offset: offset, Events: sent.Delivered.Events, Bytes: sent.Delivered.Bytes, Rejected: sent.Dead.Events, FirstRejection: rejected,
		Started: j.started, Ended: j.finished,
	}
	if j.failure != nil {
		r.Error = j.failure.Error()
	}
	until := j.finished
	if j.state == admin.ReplayRunning {
		until = time.Now()
		r.Waits = j.waits()
	}
	if d := until.Sub(j.started); d > 0 {
		r.EventsPerSecond = float64(r.Events) / d.Seconds()
	}
	return r
}

// waits returns what the replay waits for.
func (j *job) waits() string {
	report := j.shipper.Report()
	switch {
	case j.source.yields():
		return "live events go first"
	case report.State != shipper.Running:
		return report.LastError
	}
	return string(report.Waits)
}

// slowSink is a sink with a part of the quota, so that the rest is left to live delivery.
type slowSink struct{ shipper.Sink }

func (s slowSink) Shape() shipper.Shape {
	shape := s.Sink.Shape()
	q := &shape.Quota
	for _, limit := range []*int{&q.Bytes, &q.Records, &q.Requests} {
		if *limit > 0 {
			*limit = max(*limit/quotaPart, 1)
		}
	}
	return shape
}

// Shards returns the shards of a sink that has any.
func (s slowSink) Shards() *shipper.ShardMap {
	if sharded, ok := s.Sink.(shipper.Sharded); ok {
		return sharded.Shards()
	}
	return nil
}
