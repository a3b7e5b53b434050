package agent

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/standpipe/standpipe/agent/access"
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
	door        door
	server      *ingest.Server
	guard       *access.Guard       // nil: anybody may send
	certificate *access.Certificate // nil: no TLS
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
	d := &openDoor{door: doorOf(l)}
	secure, err := a.secure(d, l)
	if err != nil {
		return nil, fmt.Errorf("listener %q: %w", l.Type, err)
	}
	d.server, err = ingest.New(ingest.Options{
		Type: l.Type, Network: l.Network, Address: l.Address, Mode: l.Mode,
		Log: ingest.FromWAL(a.log), Streams: a.streams, Observer: a.metrics,
		Logger:         a.logger.Named(l.Type),
		MaxRequestSize: int(l.MaxRequestSize), MaxLineSize: int(l.MaxLineSize),
		MaxConnections: int(l.MaxConnections), MaxStreams: int(l.MaxStreams),
		HTTP: httpOptions(l.HTTP), OTLP: (*ingest.OTLPOptions)(l.OTLP),
		TLS: secure, Guard: d.guard,
	})
	if err != nil {
		return nil, fmt.Errorf("listener %q: %w", l.Type, err)
	}
	return d, nil
}

// secure opens what the listener's tls and auth blocks name.
func (a *Agent) secure(d *openDoor, l config.Listener) (*tls.Config, error) {
	var err error
	if l.Auth != nil {
		if d.guard, err = access.NewGuard(a.register, l.Auth.TokenFile, l.Auth.Identities); err != nil {
			return nil, err
		}
	}
	if l.TLS == nil {
		return nil, nil
	}
	files := access.Files{Cert: l.TLS.CertFile, Key: l.TLS.KeyFile, ClientCA: l.TLS.ClientCAFile}
	if d.certificate, err = access.OpenCertificate(files, a.logger.Named("access")); err != nil {
		return nil, err
	}
	return d.certificate.TLS(), nil
}

// refresh looks at the files of the door now.
func (d *openDoor) refresh() {
	if d.guard != nil {
		d.guard.Refresh()
	}
	if d.certificate != nil {
		d.certificate.Refresh()
	}
}

// identities are those of the configuration.
func identities(conf *config.Config) []access.Identity {
	var all []access.Identity
	for _, i := range conf.Identities {
		all = append(all, access.Identity{
			Name: i.Name, TokenFile: i.TokenFile, Certificates: i.Certificates, UIDs: i.UIDs, GIDs: i.GIDs,
			Streams: i.Streams, MaxEvents: i.MaxEvents, MaxBytes: i.MaxBytes,
		})
	}
	return all
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
