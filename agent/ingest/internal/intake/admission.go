package intake

import (
	"context"
	"crypto/tls"
	"net"

	"google.golang.org/grpc/codes"

	"github.com/standpipe/standpipe/agent/internal/access"
	"github.com/standpipe/standpipe/wal"
)

// passKey is the key of the *access.Pass in the context of a request, on a listener with a guard.
type passKey struct{}

// Admit returns ctx with the pass of a known producer, or a rejection with UNAUTHENTICATED.
func (in *Intake) Admit(ctx context.Context, shown access.Shown) (context.Context, *Rejection) {
	pass, err := in.Guard.Admit(shown)
	if err != nil {
		return ctx, unauthenticated("%v", err)
	}
	return context.WithValue(ctx, passKey{}, pass), nil
}

func unauthenticated(format string, args ...any) *Rejection {
	r := Invalid(format, args...)
	r.Code, r.Reason = codes.Unauthenticated, ReasonUnauthenticated
	return r
}

// holder returns the sender of a request, or nil on a listener without a guard.
func (in *Intake) holder(ctx context.Context) (*access.Sender, *Rejection) {
	if in.Guard == nil {
		return nil, nil
	}
	who, err := ctx.Value(passKey{}).(*access.Pass).Holder()
	if err != nil {
		return nil, unauthenticated("%v", err)
	}
	return who, nil
}

// SenderOf returns the last holder of the pass of a request, for counting, or nil on a listener without a guard.
func (in *Intake) SenderOf(ctx context.Context) *access.Sender {
	pass, ok := ctx.Value(passKey{}).(*access.Pass)
	if !ok {
		return nil
	}
	return pass.Bearer()
}

// CountRejected counts n rejected events.
func (in *Intake) CountRejected(who *access.Sender, stream string, n int, r *Rejection) {
	in.Observer.Refused(stream, r.Reason, n)
	if who != nil {
		who.Refused(n, r.Reason, r.Error())
	}
}

// Rules returns the sender of a request and the rules of its stream.
func (in *Intake) Rules(ctx context.Context, stream string) (who *access.Sender, rules StreamRules, refused *Rejection) {
	if who, refused = in.holder(ctx); refused != nil {
		return nil, rules, refused
	}
	if refused = checkPermission(who, stream); refused != nil {
		return nil, rules, refused
	}
	rules, refused = lookup(in.Streams, stream)
	return who, rules, refused
}

// checkPermission rejects a request to a stream that its sender may not write to.
func checkPermission(who *access.Sender, stream string) *Rejection {
	if who == nil || stream == "" || who.MayWrite(stream) {
		return nil
	}
	r := Invalid("identity %q may not write to stream %s", who.Name(), QuoteName(stream))
	r.Code, r.Reason = codes.PermissionDenied, ReasonForbidden
	return r
}

// MayRead rejects the caller of a request unless it may read the stream. On a listener without a guard every caller may.
func (in *Intake) MayRead(ctx context.Context, stream string) *Rejection {
	who, refused := in.holder(ctx)
	if refused != nil || who == nil || who.MayRead(stream) {
		return refused
	}
	r := Invalid("identity %q may not read stream %s; its setting read allows that", who.Name(), QuoteName(stream))
	if who.Name() == "" {
		r = Invalid("a caller with a token of the listener's own file may not read; an identity with the setting read may")
	}
	r.Code, r.Reason = codes.PermissionDenied, ReasonForbidden
	return r
}

// Known rejects a request for a stream that no block matches.
func (in *Intake) Known(stream string) *Rejection {
	_, refused := lookup(in.Streams, stream)
	return refused
}

// sizeOf is the bytes of a batch's data and attributes.
func sizeOf(b *wal.Batch) (bytes int) {
	for i := range b.Events {
		bytes += b.Events[i].Size()
	}
	return bytes
}

// checkRate rejects a batch that exceeds the rate of its sender.
func checkRate(who *access.Sender, events, bytes int) *Rejection {
	wait := who.Take(events, bytes)
	if wait == 0 {
		return nil
	}
	r := Invalid("identity %q sends faster than it may: nothing of this request was stored", who.Name())
	r.Code, r.Reason, r.Retry = codes.ResourceExhausted, ReasonRate, wait
	return r
}

// peerAddr is the address of a producer with its process. gRPC passes only the address of a connection to a request.
type peerAddr struct {
	net.Addr
	peer *access.Peer
}

// PeerAddrOf returns the address of a connection with the process at its other end, if the kernel has that.
func PeerAddrOf(conn net.Conn) net.Addr {
	if peer := access.PeerOf(conn); peer != nil {
		return peerAddr{conn.RemoteAddr(), peer}
	}
	return conn.RemoteAddr()
}

// ShownBy returns the credentials of a connection with that address: its certificate and its process.
func ShownBy(addr net.Addr, state *tls.ConnectionState) access.Shown {
	if known, ok := addr.(peerAddr); ok {
		return access.OfConnection(known.Addr, state, known.peer)
	}
	return access.OfConnection(addr, state, nil)
}
