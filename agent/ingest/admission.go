package ingest

import (
	"context"
	"crypto/tls"
	"net"

	"google.golang.org/grpc/codes"

	"github.com/standpipe/standpipe/agent/access"
	"github.com/standpipe/standpipe/wal"
)

// passKey is where the context of a request has its *access.Pass, on a listener with a guard.
type passKey struct{}

// admit returns ctx with the pass of a producer that is known.
func (in *intake) admit(ctx context.Context, shown access.Shown) (context.Context, *refusal) {
	pass, err := in.guard.Admit(shown)
	if err != nil {
		return ctx, unauthenticated("%v", err)
	}
	return context.WithValue(ctx, passKey{}, pass), nil
}

func unauthenticated(format string, args ...any) *refusal {
	r := invalid(format, args...)
	r.code, r.reason = codes.Unauthenticated, ReasonUnauthenticated
	return r
}

// holder returns who sends, or nil where anybody may.
func (in *intake) holder(ctx context.Context) (*access.Sender, *refusal) {
	if in.guard == nil {
		return nil, nil
	}
	who, err := ctx.Value(passKey{}).(*access.Pass).Holder()
	if err != nil {
		return nil, unauthenticated("%v", err)
	}
	return who, nil
}

// bearer is who last held the pass of a request, for what is counted of them; nil where anybody may send.
func (in *intake) bearer(ctx context.Context) *access.Sender {
	pass, ok := ctx.Value(passKey{}).(*access.Pass)
	if !ok {
		return nil
	}
	return pass.Bearer()
}

// countRefused counts n events that were refused.
func (in *intake) countRefused(who *access.Sender, stream string, n int, r *refusal) {
	in.observer.Refused(stream, r.reason, n)
	if who != nil {
		who.Refused(n, r.reason, r.Error())
	}
}

// rules returns who sends, and what the stream takes from them.
func (in *intake) rules(ctx context.Context, stream string) (who *access.Sender, rules StreamRules, refused *refusal) {
	if who, refused = in.holder(ctx); refused != nil {
		return nil, rules, refused
	}
	if refused = permit(who, stream); refused != nil {
		return nil, rules, refused
	}
	rules, refused = lookup(in.streams, stream)
	return who, rules, refused
}

// permit holds a request to the streams that its sender may write to.
func permit(who *access.Sender, stream string) *refusal {
	if who == nil || stream == "" || who.MayWrite(stream) {
		return nil
	}
	r := invalid("identity %q may not write to stream %s", who.Name(), quoteName(stream))
	r.code, r.reason = codes.PermissionDenied, ReasonForbidden
	return r
}

// sizeOf is the bytes of a batch's data and attributes.
func sizeOf(b *wal.Batch) (bytes int) {
	for i := range b.Events {
		bytes += b.Events[i].Size()
	}
	return bytes
}

// pace holds a batch to what its sender may send in a second.
func pace(who *access.Sender, events, bytes int) *refusal {
	wait := who.Take(events, bytes)
	if wait == 0 {
		return nil
	}
	r := invalid("identity %q sends faster than it may: nothing of this request was stored", who.Name())
	r.code, r.reason, r.retry = codes.ResourceExhausted, ReasonRate, wait
	return r
}

// peerAddr is the address of a producer whose process is known. A connection's address is all that gRPC passes on to a
// request.
type peerAddr struct {
	net.Addr
	peer *access.Peer
}

// peerAddrOf returns the address of a connection with the process at its other end, if the kernel knows it.
func peerAddrOf(conn net.Conn) net.Addr {
	if peer := access.PeerOf(conn); peer != nil {
		return peerAddr{conn.RemoteAddr(), peer}
	}
	return conn.RemoteAddr()
}

// shownBy returns what a connection with that address shows of its producer.
func shownBy(addr net.Addr, state *tls.ConnectionState) access.Shown {
	if known, ok := addr.(peerAddr); ok {
		return access.OfConnection(known.Addr, state, known.peer)
	}
	return access.OfConnection(addr, state, nil)
}
