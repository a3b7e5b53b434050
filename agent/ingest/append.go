package ingest

import (
	"context"
	"sync"

	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/wal"
)

// service is standpipe.v1.Ingest.
type service struct {
	standpipev1.UnimplementedIngestServer
	in        *intake
	receivers sync.WaitGroup // the receiving goroutines of all streams
}

// Append stores one batch.
func (s *service) Append(ctx context.Context, m *standpipev1.AppendRequest) (*standpipev1.AppendResponse, error) {
	t := s.take(ctx, m, nil)
	r, refused := s.in.finish(ctx, &t)
	if refused != nil {
		return nil, refused
	}
	return response(&r), nil
}

// take hands m to the log, tied to chain unless that is nil.
func (s *service) take(ctx context.Context, m *standpipev1.AppendRequest, chain *wal.Chain) taken {
	select {
	case <-s.in.draining:
		return taken{events: len(m.Events), err: errDraining}
	default:
	}
	r := requests.Get().(*request)
	defer r.free()
	s.fill(r, m)
	r.batch.Chain = chain
	return s.in.take(ctx, r)
}

// fill makes r what m says. The payloads are shared.
func (s *service) fill(r *request, m *standpipev1.AppendRequest) {
	r.ack = m.Ack
	r.batch.Stream = m.Stream
	r.batch.ProducerID, r.batch.ProducerSequence = m.ProducerId, m.ProducerSequence
	now := s.in.clock().UnixNano()
	for _, e := range m.Events {
		at := e.GetTimeUnixNano()
		if at == 0 {
			at = now
		}
		r.batch.Events = append(r.batch.Events, wal.Event{
			Key: e.GetPartitionKey(), Data: e.GetData(), Time: at, Attributes: e.GetAttributes(),
		})
	}
}

func response(r *reply) *standpipev1.AppendResponse {
	return &standpipev1.AppendResponse{
		FirstOffset: r.first, Count: uint32(r.count), Ack: r.ack, Duplicate: r.duplicate,
	}
}
