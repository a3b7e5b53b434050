package relay_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"

	"google.golang.org/grpc"

	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
)

// receiverVariable makes this program a receiver.
const receiverVariable = "STANDPIPE_RELAY_RECEIVER"

// receiveAndDiscard serves Ingest until standard input ends.
func receiveAndDiscard() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr())
	s := grpc.NewServer(grpc.MaxRecvMsgSize(16 << 20))
	standpipev1.RegisterIngestServer(s, discarding{})
	go s.Serve(l)
	bufio.NewReader(os.Stdin).ReadString(0)
	s.Stop()
}

type discarding struct {
	standpipev1.UnimplementedIngestServer
}

func (discarding) answer(m *standpipev1.AppendRequest) *standpipev1.AppendResponse {
	return &standpipev1.AppendResponse{FirstOffset: 1, Count: uint32(len(m.Events)), Ack: standpipev1.Ack_ACK_DURABLE}
}

func (d discarding) Append(_ context.Context, m *standpipev1.AppendRequest) (*standpipev1.AppendResponse, error) {
	return d.answer(m), nil
}

func (d discarding) AppendStream(s standpipev1.Ingest_AppendStreamServer) error {
	for {
		m, err := s.Recv()
		if err != nil {
			return nil
		}
		if err := s.Send(d.answer(m)); err != nil {
			return err
		}
	}
}
