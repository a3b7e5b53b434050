// Package access says who may send, and who may look: it knows producers and operators by what they show, and what
// each of them may.
//
// # Who is known
//
// A listener with a Guard takes nothing from a producer that its Guard does not know. An Identity is known
// by any one of
//
//   - a token, of which the agent keeps a salted SHA-256 and no copy; a token that is shown and not known is
//     refused, whatever else the producer shows,
//   - a certificate that the listener's TLS has verified, by its common name or one of its alternative names,
//   - the user or a group that a process on this host ran as when it connected to a unix socket, which the
//     kernel vouches for (SO_PEERCRED, unix(7); its supplementary groups too, SO_PEERGROUPS, since Linux 4.13).
//
// An identity may be held to streams and to a pace. A caller with a token of the listener's own file may write to
// every stream at any pace.
//
// # The pace
//
// An identity may send a second's worth at once, which comes back evenly. A batch is taken whole or not at
// all. One that is larger than a second's worth is taken when nothing else was sent for a second, and what
// comes after it waits until that is made up for. All listeners count together.
//
// # Figures
//
// What each identity has sent is counted, and what of it was refused and why, from the start of the process and
// for as long as the identity is in the configuration: so there are as many counters as the operator has written
// identities. Unknown callers are counted together; the agent keeps the origin of their last request.
//
// # Files
//
// Certificates, keys and token files are checked again on use, once a second has passed since the last check, and at
// Refresh. A changed file is read. An empty or missing token file has no token, and an empty or missing client CA file
// has no authority: all access that the file granted is revoked. (A program that rewrites a file in place, instead of
// renaming a new one over it, has a tenth of a second for it.) A file that is unusable for another reason is logged
// once and changes nothing: the previous content of this file alone stays in force. The same holds between the write
// of a certificate and the write of its key.
//
// A removed token is rejected from then on, also on open streams and connections: a Pass returns its holder's current
// identity. An open TLS connection is not verified again.
package access
