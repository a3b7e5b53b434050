package grpcin

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

	"github.com/standpipe/standpipe/agent/ingest/internal/budget"
	"github.com/standpipe/standpipe/agent/ingest/internal/h2guard"
	"github.com/standpipe/standpipe/agent/ingest/internal/intake"
	"github.com/standpipe/standpipe/agent/ingest/internal/otlp"
	"github.com/standpipe/standpipe/agent/ingest/internal/readout"
	"github.com/standpipe/standpipe/agent/internal/access"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
)

// Listener is the gRPC listener: Ingest, health and reflection.
type Listener struct {
	service *service
	health  *health.Server
	server  *grpc.Server
	guard   *h2guard.Guard // nil: off
	readers bool           // stored events are offered
	cut     atomic.Bool    // the handler of a reader has ended in the drain
}

const (
	// readerPatience is the time that readers have to take the rest when the listener ends.
	readerPatience = time.Second
	// minPing is how often a producer may ping on a connection, idle or not.
	minPing = 10 * time.Second
	// streamWorkers is the number of goroutines that handle one request after another. Further requests get a goroutine
	// each. A new stack grows three times on its way to the WAL, which was a tenth of the cost of a unary request.
	streamWorkers = 64
	// pingAfter is the silence after which a producer is pinged; pingWait is the time for its response. A producer that
	// has sent half of a frame does not respond.
	pingAfter = time.Minute
	pingWait  = 20 * time.Second
	// maxHeaderList bounds the headers of a request, with 32 bytes added for each (RFC 9113, section 6.5.2).
	maxHeaderList = 16 << 10
	// streamWindow bounds the bytes of an AppendStream that gRPC holds unread. It grows for a message that is being
	// read; messages that fit need no WINDOW_UPDATE round trip. connWindow limits nothing, because gRPC acknowledges
	// connection-level data as it arrives. Its value keeps gRPC from enlarging both windows up to 16 MiB.
	streamWindow = 128 << 10
	connWindow   = 1 << 20
)

// Options are the settings of newGRPC.
type Options struct {
	MaxRequestSize int // bytes
	MaxStreams     int // requests in progress of one connection
	NoHTTP2Guard   bool
	OTLP           *otlp.Options
	TLS            *tls.Config
	Reads          readout.Log // nil: stored events are not offered
}

func New(in *intake.Intake, o *Options) *Listener {
	w := &Listener{
		health: health.NewServer(),
	}
	w.service = &service{in: in, budget: in.NewBudget(o.MaxRequestSize), decoding: budget.New(intake.MaxDecoded)}
	if !o.NoHTTP2Guard {
		w.guard = h2guard.New(w.service, h2guard.Limits{MaxMessage: o.MaxRequestSize, MaxStreams: 2 * int64(o.MaxStreams)})
	}
	w.server = grpc.NewServer(w.options(o)...)
	w.server.RegisterService(ingestDesc(), w.service)
	grpc_health_v1.RegisterHealthServer(w.server, &healthService{w.health, in.Draining})
	w.health.SetServingStatus(standpipev1.Ingest_ServiceDesc.ServiceName, grpc_health_v1.HealthCheckResponse_SERVING)
	if o.Reads != nil {
		readout.Register(w.server, in, o.Reads)
		w.readers = true
	}
	reflection.Register(w.server)
	if o.OTLP != nil {
		(&otlpService{otlp.New(in, o.OTLP, o.MaxRequestSize), w.service.budget}).register(w.server)
	}
	return w
}

func (w *Listener) options(o *Options) []grpc.ServerOption {
	options := []grpc.ServerOption{
		grpc.ForceServerCodecV2(newCodec()),
		grpc.MaxRecvMsgSize(o.MaxRequestSize),
		grpc.MaxConcurrentStreams(uint32(o.MaxStreams)),
		grpc.MaxHeaderListSize(maxHeaderList),
		grpc.StaticStreamWindowSize(streamWindow),
		grpc.StaticConnWindowSize(connWindow),
		grpc.WaitForHandlers(true),
		grpc.NumStreamWorkers(streamWorkers),
		grpc.ConnectionTimeout(intake.HandshakeTimeout),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingAfter, Timeout: pingWait}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{
			MinTime: minPing, PermitWithoutStream: true,
		}),
		grpc.StreamInterceptor(w.endOnDrain),
		grpc.UnknownServiceHandler(w.unknownMethod(o)),
	}
	if w.service.in.Guard != nil {
		options = append(options, grpc.InTapHandle(w.admit))
	}
	secure := insecure.NewCredentials()
	if o.TLS != nil {
		secure = credentials.NewTLS(o.TLS)
	}
	if w.guard != nil {
		secure = w.guard.Credentials(secure)
	}
	return append(options, grpc.Creds(secure))
}

// Serve serves the connections of l until Drain or Cut.
func (w *Listener) Serve(l net.Listener) error { return w.server.Serve(w.service.in.Conns.Listener(l)) }

// Drain ends the listener once the responses of all requests are sent.
func (w *Listener) Drain() {
	w.health.Shutdown()
	w.service.in.Conns.CloseSilent()
	ended := make(chan struct{})
	if w.readers {
		go w.cutReaders(ended)
	}
	w.server.GracefulStop()
	close(ended)
	w.service.receivers.Wait()
}

// cutReaders closes all connections when nothing but readers was open for readerPatience: one that takes nothing leaves events unsent,
// and its connection could not end.
func (w *Listener) cutReaders(ended <-chan struct{}) {
	for {
		requests := w.service.active.Load()
		select {
		case <-ended:
			return
		case <-time.After(readerPatience):
		}
		if w.cut.Load() && requests == 0 && w.service.active.Load() == 0 {
			w.server.Stop()
			return
		}
	}
}

// Cut closes every connection.
func (w *Listener) Cut() {
	w.service.in.Conns.CloseAll()
	w.server.Stop()
}

// unknownMethod rejects requests to services that are not offered: with gRPC's own text, and for OpenTelemetry's
// services with a text that names the one on offer.
func (w *Listener) unknownMethod(o *Options) grpc.StreamHandler {
	signals := &otlp.Signals{Logger: w.service.in.Logger}
	return func(_ any, s grpc.ServerStream) error {
		method, _ := grpc.MethodFromServerStream(s)
		if signal := otlp.SignalOf(method); signal != "" && o.OTLP != nil {
			signals.LogRejected(signal)
			return status.Errorf(codes.Unimplemented, "OTLP %s are not taken here; OTLP logs are", signal)
		}
		if strings.HasPrefix(method, "/opentelemetry.proto.collector.") {
			return status.Errorf(codes.Unimplemented, "%s is not offered here; OTLP logs are where the listener has an otlp block", method)
		}
		return status.Errorf(codes.Unimplemented, "unknown service or method %s", method)
	}
}

// admit admits the caller of a request, before its body is read. Anybody may call health.
func (w *Listener) admit(ctx context.Context, of *tap.Info) (context.Context, error) {
	if strings.HasPrefix(of.FullMethodName, "/"+grpc_health_v1.Health_ServiceDesc.ServiceName+"/") {
		return ctx, nil
	}
	in := w.service.in
	ctx, refused := in.Admit(ctx, shownByRequest(ctx, of.Header))
	if refused != nil {
		in.Observer.Refused("", refused.Reason, 1)
		return ctx, refused
	}
	return ctx, nil
}

func shownByRequest(ctx context.Context, header metadata.MD) (shown access.Shown) {
	if from, ok := peer.FromContext(ctx); ok {
		var state *tls.ConnectionState
		if info, ok := from.AuthInfo.(credentials.TLSInfo); ok {
			state = &info.State
		}
		shown = intake.ShownBy(from.Addr, state)
	}
	if values := header.Get("authorization"); len(values) > 0 {
		shown = shown.WithAuthorization(values[0])
	}
	return shown
}

// endOnDrain ends the streams of reflection and of readers when the listener drains, because a client may keep them open, or take
// nothing, and a graceful stop would wait for them. The rest of the handler ends with the context of its stream. Ingest and health
// end their own streams.
func (w *Listener) endOnDrain(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if !strings.HasPrefix(info.FullMethod, "/grpc.reflection.") && info.FullMethod != standpipev1.Reader_Read_FullMethodName {
		return next(srv, s)
	}
	ended := make(chan error, 1)
	go func() { ended <- next(srv, s) }()
	select {
	case err := <-ended:
		if w.service.in.IsDraining() {
			w.cut.Store(true)
		}
		return err
	case <-w.service.in.Draining:
		w.cut.Store(true)
		return intake.ErrDraining
	}
}
