package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/agent/ingest"
)

// door is a listener as its settings make it: two with equal settings are the same.
type door struct {
	kind, network, address string
	settings               string // all of them
}

func doorOf(l config.Listener) door {
	l.Pos = config.Pos{}
	settings, err := json.Marshal(l)
	if err != nil {
		panic(err) // strings, numbers and lists of them
	}
	return door{l.Type, l.Network, l.Address, string(settings)}
}

// openDoor is a door that is bound, and served once Run has begun.
type openDoor struct {
	door   door
	server *ingest.Server
}

// openDoor binds a listener.
func (a *Agent) openDoor(l config.Listener) error {
	d, err := a.bind(l)
	if err != nil {
		return err
	}
	a.doors[d.door] = d
	return nil
}

func (a *Agent) bind(l config.Listener) (*openDoor, error) {
	server, err := ingest.New(ingest.Options{
		Type: l.Type, Network: l.Network, Address: l.Address, Mode: l.Mode,
		Log: ingest.FromWAL(a.log), Streams: a.streams, Observer: a.metrics,
		Logger:         a.logger.Named(l.Type),
		MaxRequestSize: int(l.MaxRequestSize), MaxLineSize: int(l.MaxLineSize),
		HTTP: httpOptions(l.HTTP), OTLP: (*ingest.OTLPOptions)(l.OTLP),
	})
	if err != nil {
		return nil, fmt.Errorf("listener %q: %w", l.Type, err)
	}
	return &openDoor{doorOf(l), server}, nil
}

func httpOptions(h config.HTTP) ingest.HTTPOptions {
	o := ingest.HTTPOptions{
		KeyHeader: h.KeyHeader, KeyField: h.KeyField, Origins: h.CORSOrigins,
		MaxConnections: int(h.MaxConnections), ReadTimeout: h.ReadTimeout,
	}
	for _, p := range h.Pixels {
		o.Pixels = append(o.Pixels, ingest.Pixel(p))
	}
	return o
}

// serveDoor is called with a.mu held, after Run has begun.
func (a *Agent) serveDoor(d *openDoor) {
	a.logger.Info("listening", "type", d.door.kind, "address", d.server.Addr())
	a.serving.Go(func() error { return d.server.Serve(a.serveCtx) })
}

// stopDoors stops every listener and waits until what they took is answered, or for ctx.
func (a *Agent) stopDoors(ctx context.Context) {
	var group sync.WaitGroup
	for _, d := range a.doors {
		group.Go(func() { a.stopDoor(ctx, d) })
	}
	group.Wait()
	clear(a.doors)
}

func (a *Agent) stopDoor(ctx context.Context, d *openDoor) {
	if err := d.server.Stop(ctx); err != nil {
		a.logger.Warn("a listener was cut off", "type", d.door.kind, "address", d.door.address, "error", err)
	}
}
