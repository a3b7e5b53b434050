package relay_test

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/standpipe/standpipe/agent/ingest"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/shipper/ranged"
	"github.com/standpipe/standpipe/shipper/ranged/rangedtest"
	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
)

func TestConformance(t *testing.T) {
	rangedtest.Run(t, func(t *testing.T) rangedtest.Target {
		r := receive(t, func(r *receiver) {
			// Only an event whose data is "none" has no space.
			room := func(e *wal.Event) (int, string) {
				if string(e.Data) == "none" {
					return 0, "lake"
				}
				return 1 << 30, ""
			}
			r.options.Streams = rules{ingest.StreamRules{Format: ingest.FormatBytes, Room: room}}
		})
		f := &front{plan: new(rangedtest.Plan)}
		o := r.relayOptions()
		o.Address = f.serve(t, r.address)
		return rangedtest.Target{
			Open:  func() ranged.Sink { return open(t, o) },
			Exact: true, Plan: f.plan,
			Faults: []rangedtest.Fault{rangedtest.Busy, rangedtest.Denied, rangedtest.Cut, rangedtest.Lost, rangedtest.Hang, rangedtest.HangDone},
			Stored: func() (all []uint64) {
				for _, e := range r.stored("in") {
					var offset uint64
					if _, err := fmt.Sscanf(string(e.Data[:8]), "%d", &offset); err != nil {
						t.Fatal(err)
					}
					all = append(all, offset)
				}
				return all
			},
			Reject: func(e *wal.Event) { e.Data = []byte("none") },
		}
	})
}

// front passes requests on to a receiver, and has the faults of a plan.
type front struct {
	standpipev1.UnimplementedIngestServer
	plan *rangedtest.Plan
	to   standpipev1.IngestClient
}

// serve returns the address of the front of a receiver.
func (f *front) serve(t *testing.T, receiver string) (address string) {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+receiver, grpc.WithTransportCredentials(insecure.NewCredentials()))
	testkit.Must(t, err)
	f.to = standpipev1.NewIngestClient(conn)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	s := grpc.NewServer(grpc.MaxRecvMsgSize(16 << 20))
	standpipev1.RegisterIngestServer(s, f)
	go s.Serve(l)
	t.Cleanup(func() {
		s.Stop()
		conn.Close()
	})
	return l.Addr().String()
}

func (f *front) Append(ctx context.Context, m *standpipev1.AppendRequest) (*standpipev1.AppendResponse, error) {
	fault, met := f.plan.Next()
	switch fault {
	case rangedtest.None, rangedtest.Lost, rangedtest.HangDone:
		r, err := f.to.Append(context.WithoutCancel(ctx), m)
		if fault == rangedtest.None {
			return r, err
		}
	}
	met()
	switch fault {
	case rangedtest.Busy:
		s, err := status.New(codes.ResourceExhausted, "busy").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(time.Second)})
		if err != nil {
			return nil, err
		}
		return nil, s.Err()
	case rangedtest.Denied:
		return nil, status.Error(codes.Unauthenticated, "the token is not known")
	case rangedtest.Hang, rangedtest.HangDone:
		<-ctx.Done()
	}
	return nil, status.Error(codes.Unavailable, "connection reset")
}
