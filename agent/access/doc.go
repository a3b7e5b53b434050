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
// An identity may be held to streams and to a pace. Who shows a token of the listener's own file may write to
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
// identities. Who is not known is counted together; of the last such request it is kept where it came from.
//
// # Files
//
// Certificates, keys and token files are looked at again once they are asked for and a second has passed
// since the last look, and at Refresh. One that has changed is read. A token file that is empty or gone has no token,
// and a client CA file that is empty or gone has no authority: everything that it admitted is revoked. (Whoever writes
// a file anew in place, instead of renaming a new one over it, has a tenth of a second for it.) A file that can't be used for another reason is said in the log
// once and changes nothing: what was there before stays in force, for this file alone. So it is when a certificate has
// been written and its key has not yet.
//
// A token that is gone is refused from then on, also on streams and connections that are open: a Pass tells
// who its holder is now. A TLS connection that is open is not verified again.
package access
