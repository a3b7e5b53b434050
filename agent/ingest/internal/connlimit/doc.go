// Package connlimit bounds the number of connections of a listener and keeps the listener accepting.
//
// # Contract
//
// A Set tracks the open connections of one listener. When there are more than its limit, a new connection evicts the
// connection that has been idle longest past its idle timeout: 1 s before its first byte, then 10 s. A connection with a
// request in progress is never evicted. If no connection can be evicted, the new one is rejected: it gets the response
// that Options.Response formats, without a TLS handshake, and is closed. Without the eviction, a producer that opens
// connections and leaves them idle could lock out all others.
//
// Accept of a Set's listener fails only when the listener is closed or drains. After a failure of the kernel (for example
// EMFILE) it evicts one idle connection and tries again, after a pause that grows from 5 ms to 1 s. Patient offers the
// same retries to listeners without a Set. Both log the first failure, then one line a minute, then the recovery.
//
// # Assumptions
//
// The Set learns of progress from Conn.Read, or from Conn.Touch where a caller reads the connection below Conn. Protocols
// that know when a request is complete call BeginRequest and EndRequest. gRPC does not report it, so a gRPC stream that
// waits for deliveries counts as idle.
//
// # Limits
//
// Eviction examines all connections of the listener; it runs only at the limit. The limit may be lowered at run time;
// connections above it stay open until they are evicted.
package connlimit
