package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/agent/ingest"
	"github.com/standpipe/standpipe/agent/internal/access"
	"github.com/standpipe/standpipe/agent/internal/clock"
	"github.com/standpipe/standpipe/agent/internal/descriptors"
	"github.com/standpipe/standpipe/agent/internal/memory"
	"github.com/standpipe/standpipe/wal"
)

// listeners are the listeners that producers connect to. Its owner serializes all calls.
type listeners struct {
	log      ingest.Log
	reads    wal.History
	streams  *streams
	register *access.Register
	metrics  *admin.Metrics
	logger   hclog.Logger
	memory   memory.Bound
	clock    *clock.Keeper
	start    func(serve func(context.Context) error) // runs serve in a goroutine of Agent.Run; set by Run

	bound   map[listenerKey]*listener
	leaving map[*listener]struct{} // removed by a reload, not yet stopped
}

// listener is a bound listener.
type listener struct {
	key            listenerKey
	maxConnections int64 // as configured
	server         *ingest.Server
	served         bool
	gone           *latch // stopped after a reload
	security
}

// listenerKey identifies a listener by its settings: equal settings are the same listener.
type listenerKey struct {
	kind, network, address string
	settings               string // all settings as JSON
}

func keyOf(l config.Listener) listenerKey {
	l.Pos = config.Pos{}
	settings, err := json.Marshal(l)
	if err != nil {
		panic(err) // l has only strings, numbers and lists of them
	}
	return listenerKey{l.Type, l.Network, l.Address, string(settings)}
}

// bindNew binds the listeners of conf that are not bound yet. On an error it closes those it has bound. A listener
// with changed settings cannot be bound while the old one holds its address.
func (ls *listeners) bindNew(conf *config.Config) (added []*listener, err error) {
	for _, c := range conf.Listeners {
		if _, bound := ls.bound[keyOf(c)]; bound {
			continue
		}
		l, err := ls.bind(c)
		if err != nil {
			ls.discard(added)
			return nil, err
		}
		added = append(added, l)
	}
	return added, nil
}

func (ls *listeners) bind(c config.Listener) (*listener, error) {
	secured, err := openSecurity(ls.register, ls.logger.Named(c.Type), c.TLS, c.Auth)
	if err != nil {
		return nil, fmt.Errorf("%slistener %q: %w", posPrefix(c.Pos), c.Type, err)
	}
	l := &listener{key: keyOf(c), maxConnections: c.MaxConnections, gone: newLatch(), security: secured}
	o := ingest.Options{
		Type: c.Type, Network: c.Network, Address: c.Address, Mode: c.Mode,
		Log: submitter{ls.log, ls.streams}, Streams: ls.streams, Relays: ls.streams, Observer: ls.metrics,
		Logger: ls.logger.Named(c.Type), Budget: ls.budget(c),
		MaxRequestSize: int(c.MaxRequestSize), MaxLineSize: int(c.MaxLineSize),
		MaxConnections: int(c.MaxConnections), MaxStreams: int(c.MaxStreams), NoHTTP2Guard: !c.HTTP2Guard,
		HTTP: httpOptions(c.HTTP), MQTT: ingest.MQTTOptions{Topics: c.Topics, Origins: c.HTTP.CORSOrigins}, OTLP: (*ingest.OTLPOptions)(c.OTLP),
		TLS: l.tls(), Guard: l.guard, Clock: ls.clock.Stamp,
	}
	if !c.Insecure || l.guard != nil { // else anybody in the network could read
		o.Reads = ls.reads
	}
	l.server, err = ingest.New(o)
	if err != nil {
		return nil, fmt.Errorf("%slistener %q: %w", posPrefix(c.Pos), c.Type, err)
	}
	return l, nil
}

// budget returns the bytes that the requests of a listener may hold together.
func (ls *listeners) budget(c config.Listener) int64 {
	largest := c.MaxRequestSize
	if c.Type == ingest.Socket {
		largest = c.MaxLineSize
	}
	return ls.memory.ForRequests(ingest.DefaultBudget(largest), largest)
}

func httpOptions(h config.HTTP) ingest.HTTPOptions {
	o := ingest.HTTPOptions{
		KeyHeader: h.KeyHeader, KeyField: h.KeyField, Origins: h.CORSOrigins,
		ReadTimeout: h.ReadTimeout,
	}
	for _, p := range h.Pixels {
		o.Pixels = append(o.Pixels, ingest.Pixel(p))
	}
	return o
}

// posPrefix returns the beginning of an error text about a block: its position, or nothing for a default.
func posPrefix(p config.Pos) string {
	if p.Line == 0 {
		return ""
	}
	return p.String() + ": "
}

// add makes the result of bindNew the agent's.
func (ls *listeners) add(added []*listener) {
	for _, l := range added {
		ls.bound[l.key] = l
	}
}

// discard closes the result of bindNew.
func (ls *listeners) discard(added []*listener) {
	for _, l := range added {
		ls.stopOne(context.Background(), l)
	}
}

// apply serves the listeners of conf, which bindNew has bound, and begins to stop the others. It returns these.
func (ls *listeners) apply(conf *config.Config, added []*listener) (closing []*listener) {
	wanted := make(map[listenerKey]bool)
	for _, c := range conf.Listeners {
		wanted[keyOf(c)] = true
	}
	for key, l := range ls.bound {
		if wanted[key] {
			l.refresh()
			continue
		}
		closing = append(closing, l)
		delete(ls.bound, key)
		ls.leave(l, conf.ShutdownTimeout)
	}
	ls.add(added)
	ls.limitConnections(conf)
	for _, l := range ls.bound {
		if !l.served {
			l.served = true
			logListening(ls.logger, l.key.kind, l.server.Addr(), l.security)
			ls.start(l.server.Serve)
		}
	}
	return closing
}

func logListening(logger hclog.Logger, kind string, address net.Addr, s security) {
	logger.Info("listening", "type", kind, "address", address, "tls", s.certificate != nil, "auth", s.guard != nil)
}

// leave stops a removed listener in the background.
func (ls *listeners) leave(l *listener, timeout time.Duration) {
	maps.DeleteFunc(ls.leaving, func(l *listener, _ struct{}) bool { return l.gone.isSet() })
	ls.leaving[l] = struct{}{}
	go func() {
		defer l.gone.set()
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		ls.stopOne(ctx, l)
	}()
}

// stop stops every listener and waits until all accepted requests have their responses, or until ctx ends.
func (ls *listeners) stop(ctx context.Context) {
	var group sync.WaitGroup
	for _, l := range slices.AppendSeq(slices.Collect(maps.Values(ls.bound)), maps.Keys(ls.leaving)) {
		if !l.gone.isSet() {
			group.Go(func() { ls.stopOne(ctx, l) })
		}
	}
	group.Wait()
	clear(ls.bound)
	clear(ls.leaving)
}

func (ls *listeners) stopOne(ctx context.Context, l *listener) {
	if err := l.server.Stop(ctx); err != nil {
		ls.logger.Warn("listener cut off before its requests ended", "type", l.key.kind, "address", l.key.address, "error", err)
	}
}

// limitConnections limits the connections of all listeners together to the descriptors that the process may have open.
func (ls *listeners) limitConnections(conf *config.Config) {
	limit, known := descriptors.Limit()
	if !known {
		return
	}
	var all []*listener
	var wanted []int64
	sum := int64(0)
	for _, l := range ls.bound {
		all, wanted = append(all, l), append(wanted, l.maxConnections)
		sum += l.maxConnections
	}
	aside := descriptors.Aside(conf, limit)
	for i, most := range descriptors.Share(wanted, limit-aside) {
		all[i].server.LimitConnections(most)
	}
	if sum > limit-aside {
		ls.logger.Warn("max_connections exceed the file descriptors of the process; lowered in proportion",
			"max_connections", sum, "descriptors", limit, "kept_for_the_agent", aside, "connections_at_most", limit-aside)
	}
}
