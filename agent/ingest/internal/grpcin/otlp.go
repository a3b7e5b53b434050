package grpcin

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/standpipe/standpipe/agent/ingest/internal/budget"
	"github.com/standpipe/standpipe/agent/ingest/internal/intake"
	"github.com/standpipe/standpipe/agent/ingest/internal/otlp"
)

const exportMethod = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"

// otlpService is opentelemetry.proto.collector.logs.v1.LogsService. Its messages are written here by their like: LogsData
// has the fields of ExportLogsServiceRequest, and a response without a partial success has none. The package of the
// service itself would bring a gateway along.
type otlpService struct {
	logs   *otlp.Logs
	budget *budget.Budget // of the listener
}

func (o *otlpService) register(s *grpc.Server) {
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: "opentelemetry.proto.collector.logs.v1.LogsService",
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Export", Handler: exportUnary}},
	}, o)
}

func exportUnary(srv any, ctx context.Context, decode func(any) error, admit grpc.UnaryServerInterceptor) (any, error) {
	w := new(wireRequest)
	if err := decode(w); err != nil {
		return nil, err
	}
	export := func(ctx context.Context, _ any) (any, error) {
		defer w.Free()
		o := srv.(*otlpService)
		held := heldWhole(2 * w.Len())
		if !o.budget.Acquire(held) {
			return nil, intake.ErrOverBudget
		}
		defer o.budget.Release(held)
		t, refused := o.logs.Export(ctx, w.Materialize(), o.logs.Decode)
		if refused != nil {
			return nil, refused
		}
		m := &emptypb.Empty{}
		m.ProtoReflect().SetUnknown(otlp.Response(t))
		return m, nil
	}
	if admit == nil {
		return export(ctx, w)
	}
	return admit(ctx, w, &grpc.UnaryServerInfo{Server: srv, FullMethod: exportMethod}, export)
}
