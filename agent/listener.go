package agent

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent/access"
	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/agent/ingest"
)

// door is a listener as its settings make it: two with equal settings are the same.
type listenerKey struct {
	kind, network, address string
	settings               string // all of them
}

func keyOf(l config.Listener) listenerKey {
	l.Pos = config.Pos{}
	settings, err := json.Marshal(l)
	if err != nil {
		panic(err) // strings, numbers and lists of them
	}
	return listenerKey{l.Type, l.Network, l.Address, string(settings)}
}

// listener is bound, and served once Run has begun.
type listener struct {
	key    listenerKey
	most   int64 // connections, as configured
	server *ingest.Server
	gone   *latch // it was stopped after a reload
	security
}

// security is what the tls and auth blocks of a listener ask for.
type security struct {
	guard       *access.Guard       // nil: it answers anybody
	certificate *access.Certificate // nil: no TLS
}

// openListener binds a listener.
func (a *Agent) openListener(l config.Listener) error {
	d, err := a.bind(l)
	if err != nil {
		return err
	}
	a.listeners[d.key] = d
	return nil
}

func (a *Agent) bind(l config.Listener) (*listener, error) {
	guarded, err := openSecurity(a.register, a.logger.Named(l.Type), l.TLS, l.Auth)
	if err != nil {
		return nil, fmt.Errorf("%slistener %q: %w", posPrefix(l.Pos), l.Type, err)
	}
	d := &listener{key: keyOf(l), most: l.MaxConnections, gone: newLatch(), security: guarded}
	d.server, err = ingest.New(ingest.Options{
		Type: l.Type, Network: l.Network, Address: l.Address, Mode: l.Mode,
		Log: submitter{ingest.FromWAL(a.log), a.streams}, Streams: a.streams, Observer: a.metrics,
		Logger:         a.logger.Named(l.Type),
		MaxRequestSize: int(l.MaxRequestSize), MaxLineSize: int(l.MaxLineSize),
		MaxConnections: int(l.MaxConnections), MaxStreams: int(l.MaxStreams),
		HTTP: httpOptions(l.HTTP), OTLP: (*ingest.OTLPOptions)(l.OTLP),
		TLS: d.tls(), Guard: d.guard,
	})
	if err != nil {
		return nil, fmt.Errorf("%slistener %q: %w", posPrefix(l.Pos), l.Type, err)
	}
	return d, nil
}

// place begins an error about what stands in the file there.
func posPrefix(p config.Pos) string {
	if p.Line == 0 {
		return "" // a default
	}
	return p.String() + ": "
}

// protect opens the files that a listener's tls and auth blocks name; nil: it has none.
func openSecurity(r *access.Register, logger hclog.Logger, secure *config.TLS, auth *config.Auth) (p security, err error) {
	if auth != nil {
		if p.guard, err = access.NewGuard(r, auth.TokenFile, auth.Identities); err != nil {
			return p, err
		}
	}
	if secure != nil {
		files := access.Files{Cert: secure.CertFile, Key: secure.KeyFile, ClientCA: secure.ClientCAFile}
		p.certificate, err = access.OpenCertificate(files, logger)
	}
	return p, err
}

// tls is nil where there is none.
func (p *security) tls() *tls.Config {
	if p.certificate == nil {
		return nil
	}
	return p.certificate.TLS()
}

// refresh looks at the files now.
func (p *security) refresh() {
	if p.guard != nil {
		p.guard.Refresh()
	}
	if p.certificate != nil {
		p.certificate.Refresh()
	}
}

// identities are those of the configuration.
func identities(conf *config.Config) []access.Identity {
	var all []access.Identity
	for _, i := range conf.Identities {
		all = append(all, access.Identity{
			Name: i.Name, Where: i.Pos.String(), TokenFile: i.TokenFile, Certificates: i.Certificates, UIDs: i.UIDs, GIDs: i.GIDs,
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

// serve is called with a.mu held, after Run has begun.
func (a *Agent) serve(d *listener) {
	a.logListening(d.key.kind, d.server.Addr(), d.security)
	a.serving.Go(func() error { return d.server.Serve(a.serveCtx) })
}

func (a *Agent) logListening(kind string, address net.Addr, p security) {
	a.logger.Info("listening", "type", kind, "address", address, "tls", p.certificate != nil, "auth", p.guard != nil)
}

// leave stops a listener that the configuration no longer has, while the agent goes on.
func (a *Agent) leave(d *listener, patience time.Duration) {
	maps.DeleteFunc(a.leaving, func(d *listener, _ struct{}) bool { return d.gone.isSet() })
	a.leaving[d] = struct{}{}
	go func() {
		defer d.gone.set()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		a.stopListener(ctx, d)
	}()
}

// stopListeners stops every listener and waits until what they took is answered, or for ctx.
func (a *Agent) stopListeners(ctx context.Context) {
	var group sync.WaitGroup
	for _, d := range slices.AppendSeq(slices.Collect(maps.Values(a.listeners)), maps.Keys(a.leaving)) {
		if !d.gone.isSet() {
			group.Go(func() { a.stopListener(ctx, d) })
		}
	}
	group.Wait()
	clear(a.listeners)
	clear(a.leaving)
}

func (a *Agent) stopListener(ctx context.Context, d *listener) {
	if err := d.server.Stop(ctx); err != nil {
		a.logger.Warn("a listener was cut off", "type", d.key.kind, "address", d.key.address, "error", err)
	}
}
