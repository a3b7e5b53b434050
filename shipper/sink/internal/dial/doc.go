// Package dial opens the TCP connections of the destinations. On a good network they behave as those of package net. On a
// link that comes and goes they do three things more:
//
//   - A connection that is closed with a request under way is reset. The kernel discards the bytes that it has not sent.
//     Without the reset it would send the whole request when the link is back: bytes that are paid for, and events that
//     arrive twice.
//   - A connection whose peer is silent is given up. The peer of a connection is silent if it acknowledges nothing for
//     several round trips although bytes or a response are outstanding. A peer that acknowledges bytes slowly is not
//     silent, nor is one that takes long to respond: keep-alive probes go out while a response is outstanding. The error is a
//     SilentError. The unused connections of the Dialer are closed too, so that the next request opens one.
//   - A host whose name cannot be looked up in time is reached at its last address.
//
// Silence is measured on Linux, by TCP_INFO. Elsewhere keep-alive probes alone find a dead connection, after about 45 s.
// TCP_USER_TIMEOUT on Linux and TCP_RXT_CONNDROPTIME on macOS bound the time for which the kernel repeats bytes that no peer
// acknowledges, also those of a connection that was closed.
//
// A fast exchange costs three atomic operations for each Write and Read. The timer of a connection runs only while a peer
// owes it something.
package dial
