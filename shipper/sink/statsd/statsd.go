package statsd

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"syscall"
	"time"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/ranged"
	"github.com/standpipe/standpipe/wal"
)

const (
	// burst is the number of datagrams over UDP between two pauses.
	burst = 16
	pause = 2 * time.Millisecond
)

// Sink is a StatsD server as a destination.
type Sink struct {
	o     Options
	table *table
	began time.Time // when the range got its first event

	datagrams [][]byte // of the sealed range
	lines     int
	sent      int // datagrams
	bytes     int

	conn net.Conn
}

// New returns a Sink. It opens no connection.
func New(o Options) (*Sink, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	s := &Sink{o: o}
	s.table = newTable(&s.o)
	return s, nil
}

// Shape never changes.
func (s *Sink) Shape() shipper.Shape { return s.o.Shape() }

// Recover returns from: a server has no record of the events that it counted.
func (s *Sink) Recover(_ context.Context, from uint64, _ []byte) (uint64, *shipper.Error) {
	return from, nil
}

// Add counts events. A range is full when it has too many values.
func (s *Sink) Add(_ context.Context, events []wal.Event) (int, *ranged.Error) {
	now := time.Now()
	if s.table.events == 0 {
		s.began = now
	}
	for i := range events {
		if s.table.values >= mostValues {
			return i, nil
		}
		s.table.add(events[i].Data, now)
	}
	return len(events), nil
}

// Due returns the end of the interval.
func (s *Sink) Due() time.Time {
	if s.table.events == 0 {
		return time.Time{}
	}
	return s.began.Add(s.o.Interval)
}

// Seal makes the datagrams of the range. There is no state.
func (s *Sink) Seal() []byte {
	s.datagrams, s.lines = s.table.datagrams(s.o.datagram())
	s.sent, s.bytes = 0, 0
	return nil
}

// Commit sends the datagrams that are not sent yet.
func (s *Sink) Commit(ctx context.Context) (ranged.Outcome, *ranged.Error) {
	if err := s.send(ctx); err != nil {
		return ranged.Outcome{}, &ranged.Error{Error: *classify(err)}
	}
	o := ranged.Outcome{Requests: len(s.datagrams), Records: s.lines, BilledBytes: uint64(s.bytes), Code: "ok", Sync: true}
	s.reset()
	return o, nil
}

func (s *Sink) send(ctx context.Context) error {
	if s.conn == nil {
		d := net.Dialer{Timeout: s.o.Timeout}
		conn, err := d.DialContext(ctx, s.o.Network, s.o.Address)
		if err != nil {
			return err
		}
		s.conn = conn
	}
	conn := s.conn
	defer context.AfterFunc(ctx, func() { conn.SetWriteDeadline(time.Unix(1, 0)) })()
	for s.sent < len(s.datagrams) {
		if err := ctx.Err(); err != nil {
			return err
		}
		conn.SetWriteDeadline(time.Now().Add(s.o.Timeout))
		n, err := conn.Write(s.datagrams[s.sent])
		if err != nil {
			s.failed(err)
			return err
		}
		s.bytes += n
		if s.sent++; s.o.Network == "udp" && s.sent%burst == 0 {
			time.Sleep(pause)
		}
	}
	return nil
}

// failed closes the connection, and repeats a datagram that no server has received: the refusal of a datagram on this host is
// the error of the next write.
func (s *Sink) failed(err error) {
	if udp, ok := s.conn.RemoteAddr().(*net.UDPAddr); ok && udp.IP.IsLoopback() && errors.Is(err, syscall.ECONNREFUSED) {
		s.sent = max(s.sent-1, 0)
	}
	s.conn.Close()
	s.conn = nil
}

// classify returns the class of an error of the socket.
func classify(err error) *shipper.Error {
	e := &shipper.Error{Class: shipper.Transient, Code: "connection", Text: err.Error(), Record: -1}
	var timeout net.Error
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EMSGSIZE):
		e.Class = shipper.Operator
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		e.Code = shipper.CodeTimeout
	}
	return e
}

func (s *Sink) reset() {
	s.table.reset(time.Now())
	s.datagrams, s.sent, s.bytes = nil, 0, 0
}

// Abort discards the counts of the range.
func (s *Sink) Abort(context.Context) { s.reset() }

// Close closes the socket.
func (s *Sink) Close() error {
	if s.conn == nil {
		return nil
	}
	return s.conn.Close()
}
