package grpcin_test

import (
	"bytes"
	stdgzip "compress/gzip"
	"context"
	"encoding/binary"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/standpipe/standpipe/agent/ingest"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/test/ingestkit"
	"github.com/standpipe/standpipe/test/testkit"
)

// rawGRPC is a producer that writes frames.
type rawGRPC struct {
	net.Conn
	mu     sync.Mutex
	heard  sync.Cond        // of mu
	ended  map[uint32]bool  // guarded by mu; requests that the agent has ended
	window map[uint32]int64 // guarded by mu; the send window of a request less streamWindow
	pinged bool             // guarded by mu; a ping is answered
	gone   bool             // guarded by mu; the connection has ended
	done   chan struct{}    // closed by listen
}

const streamWindow = 128 << 10

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

func rawFrame(kind, flags byte, stream uint32, payload []byte) []byte {
	head := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	return append(binary.BigEndian.AppendUint32(head, stream), payload...)
}

// rawHead is the frame that begins a call of Append, with more headers.
func rawHead(stream uint32, more ...string) []byte {
	block := []byte{0x83, 0x86} // POST, http
	headers := append([]string{
		":path", standpipev1.Ingest_Append_FullMethodName, ":authority", "x", "content-type", "application/grpc", "te", "trailers",
	}, more...)
	for i := 0; i < len(headers); i += 2 {
		block = append(block, 0x10)
		for _, s := range headers[i : i+2] {
			block = append(append(block, byte(len(s))), s...)
		}
	}
	return rawFrame(1, 4, stream, block)
}

func dialRaw(t *testing.T, at net.Addr) *rawGRPC {
	t.Helper()
	conn, err := net.Dial(at.Network(), at.String())
	if err != nil {
		t.Fatal(err)
	}
	r := &rawGRPC{Conn: conn, ended: make(map[uint32]bool), window: make(map[uint32]int64), done: make(chan struct{})}
	r.heard.L = &r.mu
	go r.listen()
	t.Cleanup(func() {
		conn.Close()
		<-r.done
	})
	r.Write(append([]byte(preface), rawFrame(4, 0, 0, nil)...))
	return r
}

func (r *rawGRPC) listen() {
	defer close(r.done)
	defer r.end()
	head := make([]byte, 9)
	for {
		if _, err := io.ReadFull(r, head); err != nil {
			return
		}
		payload := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
		io.ReadFull(r, payload)
		stream := binary.BigEndian.Uint32(head[5:])
		r.mu.Lock()
		switch {
		case head[3] == 1 && head[4]&1 != 0:
			r.ended[stream] = true
		case head[3] == 6 && head[4]&1 != 0:
			r.pinged = true
		case head[3] == 8:
			r.window[stream] += int64(binary.BigEndian.Uint32(payload))
		}
		r.mu.Unlock()
		r.heard.Broadcast()
	}
}

func (r *rawGRPC) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone = true
	r.heard.Broadcast()
}

// data sends a part of a request that the agent has not ended, once it may.
func (r *rawGRPC) data(stream uint32, piece []byte) {
	r.mu.Lock()
	for r.window[stream]+streamWindow < int64(len(piece)) && !r.ended[stream] && !r.gone {
		r.heard.Wait()
	}
	r.window[stream] -= int64(len(piece))
	ended := r.ended[stream]
	r.mu.Unlock()
	if !ended {
		r.Write(rawFrame(0, 0, stream, piece))
	}
}

// begin begins a request with a message of so many bytes.
func (r *rawGRPC) begin(stream, size uint32) {
	r.Write(rawHead(stream))
	r.data(stream, binary.BigEndian.AppendUint32([]byte{0}, size))
}

// patience bounds the waits of a test for events that happen at once.
const patience = time.Minute

// awaitEnds waits until the agent has ended so many requests.
func (r *rawGRPC) awaitEnds(t *testing.T, n int) {
	t.Helper()
	defer time.AfterFunc(patience, func() { r.Close() }).Stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.ended) < n && !r.gone {
		r.heard.Wait()
	}
	if len(r.ended) < n {
		t.Fatalf("%d requests are ended, want %d", len(r.ended), n)
	}
}

// awaitPing waits until a ping is answered.
func (r *rawGRPC) awaitPing(t *testing.T) {
	t.Helper()
	defer time.AfterFunc(patience, func() { r.Close() }).Stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	for !r.pinged && !r.gone {
		r.heard.Wait()
	}
	if !r.pinged {
		t.Fatal("no ping is answered")
	}
}

func (r *rawGRPC) refused() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.ended)
}

// TestGuard_BoundsHalfSentRequestsTogether: many requests stop short of their end. The bytes that they hold are
// bounded. Requests over the budget are rejected, the others wait, and a producer of whole requests is served.
func TestGuard_BoundsHalfSentRequestsTogether(t *testing.T) {
	const connections, streams, each = 4, 40, 1 << 20 // 160 MiB
	seen := &ingestkit.Counts{}
	server, client := ingestkit.ServeGRPC(t, ingest.Options{Log: ingestkit.NewLog(t), Observer: seen, MaxRequestSize: 4 << 20})
	if _, err := client.Append(t.Context(), ingestkit.Request("text", "x")); err != nil {
		t.Fatal(err)
	}
	before := testkit.HeapInUse()
	piece := make([]byte, 16<<10)
	var raws []*rawGRPC
	for range connections {
		r := dialRaw(t, server.Addr())
		raws = append(raws, r)
		for i := range uint32(streams) {
			r.begin(2*i+1, each+1)
		}
		for range each / len(piece) {
			for i := range uint32(streams) {
				r.data(2*i+1, piece)
			}
		}
		if _, err := client.Append(t.Context(), ingestkit.Request("bytes", strings.Repeat("x", 60<<10))); err != nil {
			t.Errorf("beside them: %v", err)
		}
	}
	refused := 0
	for _, r := range raws {
		refused += r.refused()
	}
	if got := testkit.HeapInUse() - before; got > 80<<20 {
		t.Errorf("%d MiB are held, want at most 64 and what is around them", got>>20)
	}
	if refused == 0 || refused == connections*streams {
		t.Errorf("%d of %d are refused, want those for which there is no room", refused, connections*streams)
	}
	if _, reasons := seen.Get(); reasons["/busy"] < refused {
		t.Errorf("got %v, want %d that are counted as busy", reasons, refused)
	}
	for _, r := range raws {
		r.Close()
		<-r.done
	}
	for { // their room is given back when gRPC has noticed
		_, err := client.Append(t.Context(), ingestkit.Request("bytes", strings.Repeat("x", 3<<20)))
		if err == nil {
			break
		}
		if status.Code(err) != codes.Unavailable {
			t.Fatal(err)
		}
	}
}

// TestGuard_RejectionIsAsFromGRPC: gRPC's own client reads the refusal that comes from below its server.
func TestGuard_RejectionIsAsFromGRPC(t *testing.T) {
	server, client := ingestkit.ServeGRPC(t, ingest.Options{Log: ingestkit.NewLog(t), MaxRequestSize: 17 << 20})
	r := dialRaw(t, server.Addr())
	piece := make([]byte, 16<<10)
	for stream := uint32(1); r.refused() == 0; stream += 2 { // until all room is taken
		r.begin(stream, 17<<20)
		for range 17<<20/len(piece) - 8 {
			r.data(stream, piece)
		}
	}
	for _, stream := range []bool{false, true} {
		got := status.Convert(tryLarge(t.Context(), client, stream))
		if got.Code() != codes.Unavailable || !strings.Contains(got.Message(), "had not arrived whole") {
			t.Errorf("got %v, want UNAVAILABLE", got)
		}
		var wait *errdetails.RetryInfo
		var info *errdetails.ErrorInfo
		for _, d := range got.Details() {
			switch d := d.(type) {
			case *errdetails.RetryInfo:
				wait = d
			case *errdetails.ErrorInfo:
				info = d
			}
		}
		if wait.GetRetryDelay().AsDuration() == 0 || info.GetReason() != "BUSY" {
			t.Errorf("got %v and %v, want a delay and BUSY", wait, info)
		}
	}
	if _, err := client.Append(t.Context(), ingestkit.Request("text", "x")); err != nil {
		t.Errorf("a small one: %v", err)
	}
}

// tryLarge sends a large request, on an AppendStream after a small one that is answered.
func tryLarge(ctx context.Context, client standpipev1.IngestClient, stream bool) error {
	large := ingestkit.Request("bytes", strings.Repeat("x", 4<<20))
	if !stream {
		_, err := client.Append(ctx, large)
		return err
	}
	s, err := client.AppendStream(ctx)
	if err != nil {
		return err
	}
	s.Send(ingestkit.Request("text", "x"))
	if _, err := s.Recv(); err != nil {
		return err
	}
	s.Send(large)
	_, err = s.Recv()
	return err
}

// TestGuard_BoundsRequestsInProgressTogether: each connection has some of its own.
func TestGuard_BoundsRequestsInProgressTogether(t *testing.T) {
	server, client := ingestkit.ServeGRPC(t, ingest.Options{Log: ingestkit.NewLog(t), MaxStreams: 10})
	var raws []*rawGRPC
	total := 0
	for range 10 {
		r := dialRaw(t, server.Addr())
		raws = append(raws, r)
		for i := range uint32(10) {
			r.Write(rawHead(2*i + 1))
		}
		total += 10
	}
	if _, err := client.Append(t.Context(), ingestkit.Request("text", "x")); err != nil {
		t.Error(err)
	}
	const want = 10*4 + 2*10 // of each connection, and together
	for refused := 0; refused < total-want; runtime.Gosched() {
		refused = 0
		for _, r := range raws {
			refused += r.refused()
		}
	}
	if _, err := client.Append(t.Context(), ingestkit.Request("text", "x")); err != nil {
		t.Error(err)
	}
}

// TestBudget_BoundsRequestsThatWaitForTheLog: those are whole, and held by the agent itself.
func TestBudget_BoundsRequestsThatWaitForTheLog(t *testing.T) {
	log := &ingestkit.GatedLog{Log: ingestkit.NewLog(t), Gate: make(chan struct{})}
	_, client := ingestkit.ServeGRPC(t, ingest.Options{Log: log, Budget: 4 << 20})
	const callers, fit = 80, 40
	outcomes := make(chan error, callers)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for range callers {
		go func() {
			_, err := client.Append(ctx, ingestkit.Request("bytes", strings.Repeat("x", 100<<10)))
			outcomes <- err
		}()
	}
	for range callers - fit {
		if err := <-outcomes; status.Code(err) != codes.Unavailable {
			t.Errorf("without room: got %v, want UNAVAILABLE", err)
		}
	}
	close(log.Gate)
	stored := 0
	for range fit {
		if err := <-outcomes; err == nil {
			stored++
		} else if status.Code(err) != codes.Unavailable {
			t.Error(err)
		}
	}
	if stored < fit/4 { // an event that arrives in pieces is joined
		t.Errorf("%d were stored, want nearly all for which there was room, %d", stored, fit/2)
	}
}

// TestBudget_ZipBombs: kilobytes that become more than a request may have are refused, and of those that become nearly as
// much few are held unpacked.
func TestBudget_ZipBombs(t *testing.T) {
	log := &ingestkit.GatedLog{Log: ingestkit.NewLog(t), Gate: make(chan struct{})}
	server, client := ingestkit.ServeGRPC(t, ingest.Options{Log: log, MaxRequestSize: 2 << 20, Budget: 8 << 20})
	_, err := client.Append(t.Context(), ingestkit.Request("bytes", strings.Repeat("x", 3<<20)), grpc.UseCompressor(gzip.Name))
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("one of 3 MiB: got %v, want RESOURCE_EXHAUSTED", err)
	}
	const bombs, fit = 16, 2 // an event that arrives in pieces is joined
	message := packedMessage(t, ingestkit.Request("bytes", strings.Repeat("x", 19<<20/10)))
	before := testkit.HeapInUse()
	r := dialRaw(t, server.Addr())
	for i := range uint32(bombs) {
		r.Write(rawHead(2*i+1, "grpc-encoding", "gzip"))
		for rest := message; len(rest) > 0; {
			n := min(len(rest), 16<<10)
			r.data(2*i+1, rest[:n])
			rest = rest[n:]
		}
		r.Write(rawFrame(0, 1, 2*i+1, nil))
	}
	r.awaitEnds(t, bombs-fit)
	if got := testkit.HeapInUse() - before; got > 12<<20 {
		t.Errorf("%d MiB are held, want those of %d", got>>20, fit)
	}
	close(log.Gate)
	r.awaitEnds(t, bombs)
	if got := len(log.Stored()); got != fit {
		t.Errorf("%d are stored, want %d", got, fit)
	}
}

// packedMessage is a request as a message that is packed.
func packedMessage(t *testing.T, m *standpipev1.AppendRequest) []byte {
	t.Helper()
	plain, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	packed.Write(make([]byte, 5))
	w := stdgzip.NewWriter(&packed)
	w.Write(plain)
	w.Close()
	b := packed.Bytes()
	b[0] = 1
	binary.BigEndian.PutUint32(b[1:], uint32(len(b)-5))
	return b
}

// TestConnections_SilentHoldNoBuffers: ten thousand with a buffer each would be 320 MiB.
func TestConnections_SilentHoldNoBuffers(t *testing.T) {
	const connections, most = 200, 24 << 10
	server, _ := ingestkit.ServeGRPC(t, ingest.Options{Log: ingestkit.NewLog(t)})
	before := testkit.HeapInUse()
	for range connections {
		conn, err := net.Dial(server.Addr().Network(), server.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.Write(append([]byte(preface), rawFrame(4, 0, 0, nil)...))
		var answered []byte
		for ack := rawFrame(4, 1, 0, nil); !bytes.Contains(answered, ack); {
			part := make([]byte, 100)
			n, err := conn.Read(part)
			if err != nil {
				t.Fatal(err)
			}
			answered = append(answered, part[:n]...)
		}
	}
	if got := (testkit.HeapInUse() - before) / connections; got > most {
		t.Errorf("each holds %d bytes, want at most %d", got, most)
	}
}
