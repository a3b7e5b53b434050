package ingest

import (
	"context"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection"

	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
)

// grpcWire is the gRPC listener: Ingest, health and reflection.
type grpcWire struct {
	service *service
	health  *health.Server
	server  *grpc.Server
	admit   func(token string) bool
	conns   knownConns
}

const (
	// minPing is how often a producer may ping on a connection, idle or not.
	minPing = 10 * time.Second
	// streamWorkers is how many goroutines answer one request after another; a request that finds none free
	// gets one of its own, as each does without them. A new goroutine's stack grows three times on its
	// way to the log, which was a tenth of a unary request's cost.
	streamWorkers = 64
	// handshakeTime is how long a new connection may take before its first request.
	handshakeTime = 10 * time.Second
)

func newGRPC(in *intake, o *Options) *grpcWire {
	w := &grpcWire{
		service: &service{in: in}, health: health.NewServer(), admit: o.Admit,
		conns: knownConns{conns: make(map[*knownConn]struct{})},
	}
	w.server = grpc.NewServer(w.options(o)...)
	w.server.RegisterService(ingestDesc(), w.service)
	grpc_health_v1.RegisterHealthServer(w.server, &healthService{w.health, in.draining})
	w.health.SetServingStatus(standpipev1.Ingest_ServiceDesc.ServiceName, grpc_health_v1.HealthCheckResponse_SERVING)
	reflection.Register(w.server)
	if o.OTLP != nil {
		newOTLP(in, o).register(w.server)
	}
	return w
}

func (w *grpcWire) options(o *Options) []grpc.ServerOption {
	options := []grpc.ServerOption{
		grpc.ForceServerCodecV2(newCodec()),
		grpc.MaxRecvMsgSize(o.MaxRequestSize),
		grpc.WaitForHandlers(true),
		grpc.NumStreamWorkers(streamWorkers),
		grpc.ConnectionTimeout(handshakeTime),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{
			MinTime: minPing, PermitWithoutStream: true,
		}),
		grpc.ChainStreamInterceptor(w.admitStream, w.endOnDrain),
	}
	if o.Admit != nil {
		options = append(options, grpc.UnaryInterceptor(w.admitUnary))
	}
	if o.TLS != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(o.TLS)))
	}
	return options
}

func (w *grpcWire) serve(l net.Listener) error { return w.server.Serve(w.conns.listener(l)) }

func (w *grpcWire) drain() {
	w.health.Shutdown()
	w.conns.closeSilent()
	w.server.GracefulStop()
	w.service.receivers.Wait()
}

func (w *grpcWire) cut() {
	w.conns.closeAll()
	w.server.Stop()
}

func (w *grpcWire) admitUnary(ctx context.Context, m any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if err := w.admitted(ctx, info.FullMethod); err != nil {
		return nil, err
	}
	return next(ctx, m)
}

func (w *grpcWire) admitStream(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if err := w.admitted(s.Context(), info.FullMethod); err != nil {
		return err
	}
	return next(srv, s)
}

// admitted checks the token of a request. Health may be asked without one.
func (w *grpcWire) admitted(ctx context.Context, method string) error {
	if w.admit == nil || strings.HasPrefix(method, "/"+grpc_health_v1.Health_ServiceDesc.ServiceName+"/") {
		return nil
	}
	values := metadata.ValueFromIncomingContext(ctx, "authorization")
	if len(values) == 0 {
		return unauthenticated("the request carries no authorization; Bearer and a token are needed")
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "bearer") {
		return unauthenticated("the request's authorization is not of the kind Bearer")
	}
	if !w.admit(token) {
		return unauthenticated("the request's token is not known")
	}
	return nil
}

func unauthenticated(text string) *refusal {
	return &refusal{code: codes.Unauthenticated, reason: ReasonUnauthenticated, event: noEvent, text: text}
}

// endOnDrain ends the streams of reflection, which a client may keep open for as long as it lives:
// a graceful stop would wait for them. What is left of the handler ends when its stream's context
// does. Ingest and health see to themselves.
func (w *grpcWire) endOnDrain(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if !strings.HasPrefix(info.FullMethod, "/grpc.reflection.") {
		return next(srv, s)
	}
	ended := make(chan error, 1)
	go func() { ended <- next(srv, s) }()
	select {
	case err := <-ended:
		return err
	case <-w.service.in.draining:
		return errDraining
	}
}
