package grpcin

import (
	"context"

	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/standpipe/standpipe/agent/ingest/internal/intake"
)

// healthService is gRPC's health service with watches that end when the listener drains: a graceful stop would wait for
// them.
type healthService struct {
	*health.Server
	draining <-chan struct{}
}

// Watch sends every change; the last one is NOT_SERVING.
func (h *healthService) Watch(m *grpc_health_v1.HealthCheckRequest, s grpc_health_v1.Health_WatchServer) error {
	ctx, cancel := context.WithCancel(s.Context())
	defer cancel()
	go func() {
		defer cancel()
		select {
		case <-h.draining:
		case <-ctx.Done():
		}
	}()
	err := h.Server.Watch(m, &endingWatch{s, ctx})
	select {
	case <-h.draining:
	default:
		return err
	}
	last := &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_NOT_SERVING}
	if err := s.Send(last); err != nil {
		return err
	}
	return intake.ErrDraining
}

// endingWatch is a watch that ends with ctx.
type endingWatch struct {
	grpc_health_v1.Health_WatchServer
	ctx context.Context
}

func (w *endingWatch) Context() context.Context { return w.ctx }
