//go:build linux

package agent_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"

	"github.com/standpipe/standpipe/agent"
	"github.com/standpipe/standpipe/agent/config"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/test/floor"
	"github.com/standpipe/standpipe/wal"
)

// The test binary is also a server, if serverEnv is set: a process of its own has its own memory.
const (
	serverEnv   = "STANDPIPE_BENCH_SERVER"   // "agent", "bare" or "inline"
	listenerEnv = "STANDPIPE_BENCH_LISTENER" // "grpc", the default, or "http"
	dirEnv      = "STANDPIPE_BENCH_DIR"      // of its sockets and its log
	tcpEnv      = "STANDPIPE_BENCH_TCP"      // where it listens beside them; empty: nowhere
	backlogEnv  = "STANDPIPE_BENCH_BACKLOG"  // the agent's log begins with a backlog
	byEnv       = "STANDPIPE_BENCH_BY"       // aggregate_by of the Kinesis destinations; empty: the default
	kinesisEnv  = "STANDPIPE_BENCH_KINESIS"  // the endpoint to which every stream goes; empty: there is one stream, and its destination discards
	profileEnv  = "STANDPIPE_BENCH_PROFILE"  // where the CPU profile of each agent goes, before a dot and its process ID; empty: nowhere
)

// socketFile is where a server listens that has no TCP.
const socketFile = "producers.sock"

// The agent's own figures.
const (
	commitsFigure   = "\nstandpipe_commit_events_count "
	deliveredFigure = "\nstandpipe_delivered_events_total{destination=\"local\",stream=\"bench\"} "
	pendingFigure   = "\nstandpipe_pending_events{destination=\"local\",stream=\"bench\"} "
)

// server is such a process.
type server struct {
	cmd    *exec.Cmd
	dir    string
	target string // for gRPC to dial
	admin  http.Client
	stop   func()       // may be called twice
	most   atomic.Int64 // watchPeak's
}

func startServer(b *testing.B, kind, network string, env ...string) *server {
	b.Helper()
	s := &server{cmd: exec.Command(os.Args[0]), dir: shortDir(b)}
	s.target = "unix://" + filepath.Join(s.dir, socketFile)
	tcp := ""
	if network == "tcp" {
		tcp = freePort(b)
		s.target = tcp
	}
	s.cmd.Env = append(os.Environ(), serverEnv+"="+kind, dirEnv+"="+s.dir, tcpEnv+"="+tcp)
	s.cmd.Env = append(s.cmd.Env, env...)
	s.cmd.Stderr = os.Stderr
	s.admin.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(s.dir, "admin.sock"))
	}}
	in, err := s.cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	s.stop = sync.OnceFunc(func() {
		s.admin.CloseIdleConnections()
		in.Close() // it ends
		if err := s.cmd.Wait(); err != nil {
			b.Errorf("%s: %v", kind, err)
		}
	})
	b.Cleanup(s.stop)
	if _, err := out.Read(make([]byte, 1)); err != nil {
		b.Fatalf("%s does not serve: %v", kind, err)
	}
	go s.watchPeak()
	return s
}

// shortDir is for sockets: their paths may have about a hundred bytes.
func shortDir(b *testing.B) string {
	b.Helper()
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func freePort(b *testing.B) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// commits returns how many commits of the agent have stored events.
func (s *server) commits(b *testing.B) int { return int(s.figure(b, commitsFigure)) }

// figure returns a metric of the agent.
func (s *server) figure(b *testing.B, name string) float64 {
	b.Helper()
	_, rest, _ := bytes.Cut(s.metrics(b), []byte(name))
	var n float64
	if _, err := fmt.Sscan(string(rest), &n); err != nil {
		b.Fatalf("%q: %v", name, err)
	}
	return n
}

func (s *server) metrics(b *testing.B) []byte {
	b.Helper()
	r, err := s.admin.Get("http://standpipe/metrics")
	if err != nil {
		b.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		b.Fatal(err)
	}
	return text
}

// awaitDelivery returns once no event of any stream is pending.
func (s *server) awaitDelivery(b *testing.B) {
	b.Helper()
	none := regexp.MustCompile(`(?m)^standpipe_pending_events\{.*\} 0$`)
	all := regexp.MustCompile(`(?m)^standpipe_pending_events\{`)
	for range 240 {
		text := s.metrics(b)
		if len(none.FindAll(text, -1)) == len(all.FindAll(text, -1)) {
			return
		}
		time.Sleep(500 * time.Millisecond) // seldom, since a look costs the agent time
	}
	b.Fatal("events are pending after two minutes")
}

// cpu returns the processor time that the process has taken.
func (s *server) cpu(b *testing.B) time.Duration {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	const user, system, tick = 11, 12, 10 * time.Millisecond // counted after the name, which is in brackets
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	ticks := 0
	for _, field := range []string{fields[user], fields[system]} {
		n, _ := strconv.Atoi(field)
		ticks += n
	}
	return time.Duration(ticks) * tick
}

// peak returns the most anonymous memory that the process was seen to have, in MB.
func (s *server) peak(b *testing.B) float64 {
	b.Helper()
	most := s.most.Load()
	if most == 0 {
		b.Fatal("the memory of the server was never read")
	}
	return float64(most) / 1000
}

// watchPeak notes the most RssAnon of the process, in kB, until it ends.
func (s *server) watchPeak() {
	for {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
		_, rest, found := bytes.Cut(text, []byte("RssAnon:"))
		if err != nil || !found { // it has ended
			return
		}
		now := int64(0)
		if fmt.Sscan(string(rest), &now); now > s.most.Load() {
			s.most.Store(now)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// serveBench is main of such a process. It ends with its standard input.
func serveBench(kind string) int {
	dir := os.Getenv(dirEnv)
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	serve := serveBare
	switch kind {
	case "agent":
		serve = serveAgent
	case "inline":
		serve = serveInline
	}
	if err := serve(ctx, dir, os.Getenv(tcpEnv)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// serveAgent runs the agent with its defaults. One stream goes to a destination that discards, or each to Kinesis.
func serveAgent(ctx context.Context, dir, tcp string) error {
	conf := config.Dev(dir)
	conf.Listeners = conf.Listeners[:1]
	l := &conf.Listeners[0]
	if os.Getenv(listenerEnv) == "http" {
		l.Type = "http"
	}
	l.Network, l.Address = "tcp", tcp
	if tcp == "" {
		l.Network, l.Address, l.Mode = "unix", filepath.Join(dir, socketFile), 0o600
	}
	conf.Admin = config.Admin{Network: "unix", Address: filepath.Join(dir, "admin.sock"), Mode: 0o600}
	conf.Streams[0].Format = "bytes"
	conf.Streams[0].Destinations[0].Type = "discard"
	if os.Getenv(backlogEnv) != "" {
		if err := fill(ctx, dir); err != nil {
			return err
		}
		conf.ShutdownTimeout = 0
	}
	if endpoint := os.Getenv(kinesisEnv); endpoint != "" {
		var err error
		if conf.Streams, err = toKinesis(endpoint, cmp.Or(os.Getenv(byEnv), "key")); err != nil {
			return err
		}
	}
	go agent.TuneMemory(conf).Run(ctx)
	if path := os.Getenv(profileEnv); path != "" {
		f, err := os.Create(fmt.Sprint(path, ".", os.Getpid()))
		if err != nil {
			return err
		}
		pprof.StartCPUProfile(f)
		defer pprof.StopCPUProfile()
	}
	a, err := agent.New(ctx, conf, hclog.NewNullLogger())
	if err != nil {
		return err
	}
	fmt.Println("ready") // bound: connections wait for Run
	return a.Run(ctx)
}

// fill gives the log in dir a backlog of events of 1 KiB.
func fill(ctx context.Context, dir string) error {
	log, err := wal.Open(ctx, wal.Options{Dir: dir})
	if err != nil {
		return err
	}
	defer log.Close()
	if _, err := log.OpenCursor("bench", "local"); err != nil {
		return err
	}
	batch := wal.Batch{Stream: "bench"}
	for i := range kib {
		batch.Events = append(batch.Events, wal.Event{Key: fmt.Sprintf("sensor-%04d", i), Data: make([]byte, kib), Time: 1})
	}
	for range backlog / kib / kib {
		if _, err := log.Append(ctx, &batch); err != nil {
			return err
		}
	}
	return log.Close()
}

// bare responds at once, or, with a floor, after it has stored as many bytes as the request has.
type bare struct {
	standpipev1.UnimplementedIngestServer
	mu    sync.Mutex // held during a commit
	floor *floor.Floor
}

func (s *bare) Append(_ context.Context, m *standpipev1.AppendRequest) (*standpipev1.AppendResponse, error) {
	if s.floor != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if err := s.floor.CommitBytes(len(m.Events) * (len(m.Events[0].Data) + frameRest)); err != nil {
			return nil, err
		}
	}
	return &standpipev1.AppendResponse{FirstOffset: 1, Count: uint32(len(m.Events)), Ack: standpipev1.Ack_ACK_DURABLE}, nil
}

func (s *bare) AppendStream(wire standpipev1.Ingest_AppendStreamServer) error {
	for {
		m, err := wire.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		r, err := s.Append(context.Background(), m)
		if err == nil {
			err = wire.Send(r)
		}
		if err != nil {
			return err
		}
	}
}

// bareAddress is where a server listens that is no agent.
func bareAddress(dir, tcp string) (network, address string) {
	if tcp == "" {
		return "unix", filepath.Join(dir, socketFile)
	}
	return "tcp", tcp
}

func serveBare(ctx context.Context, dir, tcp string) error {
	network, address := bareAddress(dir, tcp)
	l, err := net.Listen(network, address)
	if err != nil {
		return err
	}
	if os.Getenv(listenerEnv) == "http" {
		return serveBarePosts(ctx, l)
	}
	return serveGRPC(ctx, l, &bare{})
}

func serveInline(ctx context.Context, dir, tcp string) error {
	f, err := floor.Open(dir, floorBlock)
	if err != nil {
		return err
	}
	defer f.Close()
	network, address := bareAddress(dir, tcp)
	l, err := net.Listen(network, address)
	if err != nil {
		return err
	}
	return serveGRPC(ctx, l, &bare{floor: f})
}

func serveGRPC(ctx context.Context, l net.Listener, service *bare) error {
	s := grpc.NewServer(grpc.MaxRecvMsgSize(16 << 20))
	standpipev1.RegisterIngestServer(s, service)
	context.AfterFunc(ctx, s.Stop)
	fmt.Println("ready")
	return s.Serve(l)
}
