package ingestkit

import (
	"bufio"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/agent/ingest"
)

// Line is a request with its newline.
const Line = `{"stream":"text","key":"k","data":1}` + "\n"

// Producer is a connection to a socket listener.
type Producer struct {
	t         *testing.T
	Conn      net.Conn
	Responses *bufio.Reader
}

// ServeSocket starts a socket listener and connects to it.
func ServeSocket(t *testing.T, o ingest.Options) (*ingest.Server, *Producer) {
	t.Helper()
	o.Type = ingest.Socket
	s := Serve(t, o)
	return s, Connect(t, s.Addr())
}

// Connect connects to a socket listener.
func Connect(t *testing.T, at net.Addr) *Producer {
	t.Helper()
	conn, err := net.Dial(at.Network(), at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return NewProducer(t, conn)
}

// NewProducer returns the producer on a connection.
func NewProducer(t *testing.T, conn net.Conn) *Producer {
	return &Producer{t: t, Conn: conn, Responses: bufio.NewReader(conn)}
}

// Send writes text.
func (p *Producer) Send(text string) {
	p.t.Helper()
	if _, err := io.WriteString(p.Conn, text); err != nil {
		p.t.Fatal(err)
	}
}

// Finish closes the producer's direction of the connection.
func (p *Producer) Finish() {
	p.t.Helper()
	if err := p.Conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		p.t.Fatal(err)
	}
}

// Response reads one response, without its newline.
func (p *Producer) Response() string {
	p.t.Helper()
	line, err := p.Responses.ReadString('\n')
	if err != nil {
		p.t.Fatalf("read a reply: %v after %q", err, line)
	}
	return strings.TrimSuffix(line, "\n")
}

// Expect reads one response and compares it.
func (p *Producer) Expect(want string) {
	p.t.Helper()
	if got := p.Response(); got != want {
		p.t.Errorf("got reply %s, want %s", got, want)
	}
}

// ExpectEnd expects the end of the connection.
func (p *Producer) ExpectEnd() {
	p.t.Helper()
	if b, err := p.Responses.ReadByte(); !errors.Is(err, io.EOF) {
		p.t.Errorf("got %q, %v, want the end of the connection", b, err)
	}
}
