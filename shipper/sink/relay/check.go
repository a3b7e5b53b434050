package relay

import (
	"context"

	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/standpipe/standpipe/shipper"
)

// Check queries the health of the receiver, and stores nothing.
func (s *Sink) Check(ctx context.Context) *shipper.Error {
	response, err := grpc_health_v1.NewHealthClient(s.conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		return &classify(err, nil).Error.Error
	}
	if response.Status != grpc_health_v1.HealthCheckResponse_SERVING {
		return &shipper.Error{Class: shipper.Transient, Code: response.Status.String(), Text: "the receiver accepts no events now", Record: -1}
	}
	return nil
}
