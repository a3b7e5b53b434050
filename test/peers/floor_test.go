//go:build linux

package peers_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
)

const (
	// floorFolder is natsFolder for a process that is to be the floor.
	floorFolder = "STANDPIPE_PEERS_FLOOR"
	// floorSize is the size of the floor's file, which is written again from its begin.
	floorSize = 64 << 20
)

// floor is the least that a gRPC server can do: its handler writes the event to a file and syncs that.
type floor struct {
	standpipev1.UnimplementedIngestServer

	mu   sync.Mutex
	file *os.File
	end  int64
}

func (f *floor) Append(_ context.Context, m *standpipev1.AppendRequest) (*standpipev1.AppendResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.file.WriteAt(m.Events[0].Data, f.end%floorSize)
	f.end += int64(n)
	if err == nil {
		err = unix.Fdatasync(int(f.file.Fd()))
	}
	return &standpipev1.AppendResponse{FirstOffset: 1, Count: 1}, err
}

// serveFloor serves until the process is killed. The whole file is on the disk before, so that a sync writes one block, and no
// metadata of the file system.
func serveFloor(dir string) {
	err := func() error {
		file, err := os.Create(filepath.Join(dir, "events"))
		if err != nil {
			return err
		}
		if _, err := file.Write(make([]byte, floorSize)); err != nil {
			return err
		}
		if err := file.Sync(); err != nil {
			return err
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, addressFile), []byte(l.Addr().String()), 0o600); err != nil {
			return err
		}
		s := grpc.NewServer()
		standpipev1.RegisterIngestServer(s, &floor{file: file})
		return s.Serve(l)
	}()
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// openFloor is openStandpipe for the floor.
func openFloor(b *testing.B) func(context.Context, []byte) error {
	conn, err := grpc.NewClient("passthrough:///"+serve(b, floorFolder), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	ingest := standpipev1.NewIngestClient(conn)
	return func(ctx context.Context, data []byte) error {
		_, err := ingest.Append(ctx, &standpipev1.AppendRequest{Stream: "s", Events: []*standpipev1.Event{{PartitionKey: "k", Data: data}}})
		return err
	}
}
