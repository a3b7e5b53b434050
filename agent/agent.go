package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/agent/ingest"
	"github.com/standpipe/standpipe/agent/internal/access"
	"github.com/standpipe/standpipe/agent/internal/clock"
	"github.com/standpipe/standpipe/agent/internal/condition"
	"github.com/standpipe/standpipe/agent/internal/deadletters"
	"github.com/standpipe/standpipe/agent/internal/descriptors"
	"github.com/standpipe/standpipe/agent/internal/diskwatch"
	"github.com/standpipe/standpipe/agent/internal/livetail"
	"github.com/standpipe/standpipe/agent/internal/monitor"
	"github.com/standpipe/standpipe/agent/internal/uplink"
	"github.com/standpipe/standpipe/agent/replay"
	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/deadletter"
)

// monitorGrace bounds the wait for the last snapshot of the monitor before Close.
const monitorGrace = time.Second

// Agent is one standpipe: the WAL, the listeners, the streams with their destinations, and the admin listener.
type Agent struct {
	logger        hclog.Logger
	metrics       *admin.Metrics
	log           *wal.Log
	dead          *deadletter.Queue
	deadCount     deadletters.Count
	letters       *deadletters.Letters
	streams       *streams
	register      *access.Register
	admin         *admin.Server
	monitor       *monitor.Monitor
	disk          *diskwatch.Watch
	uplink        *uplink.Uplink
	replays       *replay.Runner
	clock         *clock.Keeper
	adminListener net.Listener
	adminSecurity security
	started       time.Time

	conf      atomic.Pointer[config.Config]
	mu        sync.Mutex // guards listeners and changes of conf; held by apply and by the stop
	listeners *listeners
	running   *latch       // Run serves requests
	draining  *latch       // the stop has begun: /readyz is 503, and events are accepted for drain_delay
	stopping  *latch       // no more events are accepted, and a reload ends its wait
	abort     *latch       // the stop skips its waits
	onReload  func() error // set by OnReload
	closeOnce sync.Once
	closeErr  error
}

// New opens the WAL in conf.DataDir and binds the listeners and the admin listener. It waits up to wal.lock_timeout, or
// until ctx ends, for the lock of another agent.
func New(ctx context.Context, conf *config.Config, logger hclog.Logger) (*Agent, error) {
	a := &Agent{
		logger: logger, metrics: admin.NewMetrics(), started: time.Now(),
		running: newLatch(), draining: newLatch(), stopping: newLatch(), abort: newLatch(),
	}
	a.conf.Store(conf)
	a.monitor = monitor.New(monitor.Source{Facts: a.facts, Certificates: a.certificates}, a.logger)
	a.logWarnings(conf)
	if err := a.open(ctx, conf); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

func (a *Agent) open(ctx context.Context, conf *config.Config) (err error) {
	bound, err := memoryBound(conf)
	if err != nil {
		return err
	}
	a.clock = a.newClock(conf.DataDir)
	if a.log, err = wal.Open(ctx, a.logOptions(conf)); err != nil {
		return fmt.Errorf("open WAL: %w", err)
	}
	a.log.SetPolicy(policies(conf))
	a.dead = a.log.OpenDeadLetters(func(path string, reason error) {
		a.logger.Error("dead letters damaged; set aside, new ones go to a new file", "file", path, "error", reason)
		a.deadCount.Recount()
	})
	a.disk = diskwatch.New(wal.History{Log: a.log}, conf.DataDir, func() config.MinFree { return a.conf.Load().WAL.MinFree })
	a.streams = newStreams(conf, a.log, a.dead, a.disk, a.metrics, a.logger)
	a.streams.memory = bound
	a.clock.Start() // a step of the clock concerns the streams
	a.uplink = uplink.New(a.streams.link, a.logger, a.monitor.LookSoon)
	a.replays = replay.New(replay.Options{
		Log: wal.History{Log: a.log}, Find: a.streams.replayTarget, Link: a.streams.link, Outages: a.streams.outages, Logger: a.logger.Named("replay"),
	})
	a.letters = deadletters.New(deadletters.Options{
		Queue: a.dead, Count: &a.deadCount, Streams: a.streams, Submit: a.streams.Submit, Ready: a.accepting, Logger: a.logger.Named("dead"),
	})
	a.register = access.NewRegister(a.logger.Named("access"))
	if err := a.register.Set(identities(conf)); err != nil {
		return err
	}
	if err := a.openAdmin(&conf.Admin); err != nil {
		return fmt.Errorf("%sadmin: %w", posPrefix(conf.Admin.Pos), err)
	}
	a.listeners = &listeners{
		log: ingest.FromWAL(a.log), reads: wal.History{Log: a.log}, streams: a.streams, register: a.register, metrics: a.metrics, logger: a.logger, memory: bound, clock: a.clock,
		bound: make(map[listenerKey]*listener), leaving: make(map[*listener]struct{}),
	}
	added, err := a.listeners.bindNew(conf)
	a.listeners.add(added)
	return err
}

// openAdmin binds the admin listener.
func (a *Agent) openAdmin(conf *config.Admin) (err error) {
	names := []string{a.conf.Load().NodeName}
	if host, _, err := net.SplitHostPort(conf.Address); err == nil {
		names = append(names, host)
	}
	if a.adminSecurity, err = openSecurity(a.register, a.logger.Named("admin"), conf.TLS, conf.Auth); err != nil {
		return err
	}
	var tail admin.Tail
	if !conf.Insecure || a.adminSecurity.guard != nil { // else anybody in the network could read
		tail = livetail.New(wal.History{Log: a.log}, func(stream string) error { _, err := a.streams.Lookup(stream); return err })
	}
	a.admin = admin.New(admin.Options{
		Source: a, Reload: a.reloadRequest, Kinds: condition.Kinds(), Dead: a.letters, Actions: a, Link: a.uplink, Replays: a.replays, Tail: tail, History: a.monitor.History, Metrics: a.metrics, Logger: a.logger.Named("admin"),
		TLS: a.adminSecurity.tls(), Guard: a.adminSecurity.guard, Names: names,
		PerStream: func() admin.PerStream { return admin.PerStream(a.conf.Load().Metrics.PerStream) },
	})
	l, err := ingest.Listen(conf.Network, conf.Address, conf.Mode)
	if err != nil {
		return err
	}
	a.adminListener = ingest.Limited(l, descriptors.OfAdmin, a.logger.Named("admin"))
	return nil
}

func (a *Agent) logOptions(conf *config.Config) wal.Options {
	w := conf.WAL
	return wal.Options{
		Dir: conf.DataDir, MaxSize: w.MaxSize, SegmentSize: w.SegmentSize, CheckpointInterval: w.Checkpoints,
		OnFull: wal.OnFull(w.OnFull), Retain: w.Retain, LockTimeout: w.LockTimeout, ProducerIdle: w.ProducerIdle, NodeName: conf.NodeName,
		Logger: a.logger.Named("wal"), Clock: a.clock.Now, Timelines: a.clock.Timelines,
		OnCommit: func(c wal.CommitInfo) { a.metrics.Commit(c.Events, c.Duration) },
	}
}

// policies returns the retention policy of each stream. A stream without a block keeps only the WAL's max_age.
func policies(conf *config.Config) func(stream string) wal.Policy {
	return func(stream string) wal.Policy {
		s, ok := conf.Match(stream)
		if !ok {
			return wal.Policy{MaxAge: conf.WAL.MaxAge}
		}
		return wal.Policy{MaxAge: s.MaxAge, MaxSize: s.MaxSize, OnFull: wal.OnFull(s.OnFull)}
	}
}

// logRunning logs the size of the agent that runs from now on.
func (a *Agent) logRunning(conf *config.Config) {
	destinations := 0
	for i := range conf.Streams {
		destinations += len(conf.Streams[i].Destinations)
	}
	st := a.log.Stat()
	a.logger.Info("running", "node", conf.NodeName, "data_dir", conf.DataDir, "pending_events", a.streams.pending(),
		"streams", len(conf.Streams), "destinations", destinations, "wal_bytes", st.Bytes, "max_size", st.MaxBytes)
}

// Running returns a channel that is closed when Run serves all listeners.
func (a *Agent) Running() <-chan struct{} { return a.running.c }

// Run serves until ctx ends or the WAL fails, and then stops in the order of the package comment. It returns nil after ctx
// has ended, else the cause. Run is called once.
func (a *Agent) Run(ctx context.Context) error {
	group, serveCtx := errgroup.WithContext(context.WithoutCancel(ctx))
	admins := make(chan struct{})
	adminCtx, stopAdmin := context.WithCancel(context.WithoutCancel(ctx))
	defer func() {
		stopAdmin()
		<-admins
	}()
	var adminErr error // set before admins is closed
	go func() {
		defer close(admins)
		adminErr = a.admin.Serve(adminCtx, a.adminListener)
	}()

	logListening(a.logger, "admin", a.adminListener.Addr(), a.adminSecurity)
	a.mu.Lock()
	a.listeners.start = func(serve func(context.Context) error) {
		group.Go(func() error { return serve(serveCtx) })
	}
	a.streams.finishParked(a.conf.Load())
	if _, _, err := a.apply(a.conf.Load()); err != nil {
		a.logger.Error("configuration not applied", "error", err)
	}
	a.streams.parkRest(a.conf.Load())
	a.mu.Unlock()
	if a.conf.Load().WAL.MinFree != (config.MinFree{}) {
		a.disk.Look() // before any append
	}
	a.running.set()
	monitorCtx, stopMonitor := context.WithCancel(context.WithoutCancel(ctx))
	monitored := make(chan struct{})
	go func() {
		defer close(monitored)
		var group sync.WaitGroup
		defer group.Wait()
		group.Go(func() { a.disk.Run(monitorCtx) })
		group.Go(func() { a.uplink.Run(monitorCtx) })
		group.Go(func() { a.clock.Run(monitorCtx) })
		group.Go(func() { a.deadCount.Run(monitorCtx, a.dead.List) })
		group.Go(func() { a.watchCertificates(monitorCtx) })
		a.monitor.Run(monitorCtx)
	}()
	a.logRunning(a.conf.Load())

	var failure error
	select {
	case <-ctx.Done():
		a.delayStop(serveCtx)
		failure = a.log.Failed()
	case <-serveCtx.Done():
	case <-a.log.FailedChan():
		failure = a.log.Failed()
	case <-admins:
		failure = fmt.Errorf("serve admin listener: %w", adminErr)
	}
	a.stop(failure != nil)
	if failure == nil {
		failure = a.log.Failed() // it may have failed during the stop
	}
	served := group.Wait()
	stopMonitor() // it looks at the WAL and at the listeners, which Close ends
	select {
	case <-monitored:
	case <-time.After(monitorGrace): // the disk hangs
	}
	return errors.Join(failure, served, a.Close())
}
