package relay

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/shipper"
)

// Check queries the health of the receiver, which is open to all callers, and sends a request without events. The receiver
// rejects that once it has admitted the sender to the stream. Nothing is stored.
func (s *Sink) Check(ctx context.Context) *shipper.Error {
	response, err := grpc_health_v1.NewHealthClient(s.conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		return &classify(err, nil).Error.Error
	}
	if response.Status != grpc_health_v1.HealthCheckResponse_SERVING {
		return &shipper.Error{Class: shipper.Transient, Code: response.Status.String(), Text: "the receiver accepts no events now", Record: -1}
	}
	if _, err := s.ingest.Append(ctx, &standpipev1.AppendRequest{Stream: s.o.Stream}); err != nil && status.Code(err) != codes.InvalidArgument {
		return &classify(err, nil).Error.Error
	}
	return nil
}
