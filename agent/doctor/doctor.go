package doctor

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/standpipe/standpipe/agent/config"
)

// Result is the outcome of a check.
type Result string

// The results.
const (
	OK      Result = "ok"
	Warning Result = "warning" // the agent works, but not as well as it could
	Failed  Result = "failed"
	Skipped Result = "skipped" // it could not be checked
)

// Check is the outcome of one check.
type Check struct {
	Name   string `json:"name"`
	Result Result `json:"result"`
	Text   string `json:"text"`
	Remedy string `json:"remedy,omitempty"` // empty for OK
}

// Options are the options of Run.
type Options struct {
	Timeout  time.Duration       // of each check
	Progress func(done, all int) // called when a check has ended; nil: not called
	Now      func() time.Time    // nil: time.Now
}

// sideBySide is the number of checks that run at once.
const sideBySide = 8

// check is one check before it has run.
type check struct {
	name string
	run  func(ctx context.Context) Check
}

// Run checks conf.
func Run(ctx context.Context, conf *config.Config, o Options) []Check {
	if o.Now == nil {
		o.Now = time.Now
	}
	p := &patient{conf: conf, now: o.Now, running: running(ctx, conf.Admin, o.Timeout)}
	list := p.checks()
	results := make([]Check, len(list))
	var group errgroup.Group
	group.SetLimit(sideBySide)
	var done atomic.Int64
	var mu sync.Mutex // Progress is called by one goroutine at a time
	for i, c := range list {
		group.Go(func() error {
			results[i] = c.within(ctx, o.Timeout)
			if o.Progress != nil {
				mu.Lock()
				defer mu.Unlock()
				o.Progress(int(done.Add(1)), len(list))
			}
			return nil
		})
	}
	_ = group.Wait() // no check returns an error
	return results
}

// within runs the check, but waits no longer than timeout for it: a system call may hang as its disk does.
func (c check) within(ctx context.Context, timeout time.Duration) Check {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	done := make(chan Check, 1)
	go func() { done <- c.run(ctx) }()
	select {
	case r := <-done:
		r.Name = c.name
		return r
	case <-ctx.Done():
		// a check that has ended at the same time has the better text
		select {
		case r := <-done:
			r.Name = c.name
			return r
		case <-time.After(timeout / 10):
		}
		return Check{c.name, Failed, fmt.Sprintf("no result within %v", timeout), "a disk or a server hangs; look at its state, or set a longer --timeout"}
	}
}

// patient is the configuration under examination.
type patient struct {
	conf    *config.Config
	now     func() time.Time
	running bool // an agent with the configuration's admin listener runs
}

func (p *patient) checks() []check {
	list := []check{
		{"configuration", p.configuration},
		{"data_dir", p.dataDir},
		{"space", p.space},
		{"sync", p.syncTime},
		{"descriptors", p.descriptors},
		{"clock", p.clock},
		{"files", p.files},
	}
	list = append(list, p.addresses()...)
	return append(list, p.destinations()...)
}

func ok(format string, args ...any) Check {
	return Check{Result: OK, Text: fmt.Sprintf(format, args...)}
}

func warn(remedy, format string, args ...any) Check {
	return Check{Result: Warning, Text: fmt.Sprintf(format, args...), Remedy: remedy}
}

func fail(remedy, format string, args ...any) Check {
	return Check{Result: Failed, Text: fmt.Sprintf(format, args...), Remedy: remedy}
}

func skip(remedy, format string, args ...any) Check {
	return Check{Result: Skipped, Text: fmt.Sprintf(format, args...), Remedy: remedy}
}
