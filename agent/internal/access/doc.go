// Package access authorizes callers: it identifies producers and operators by their credentials, and has the rights of each
// identity.
//
// # Credentials
//
// A listener with a Guard rejects callers that its Guard does not know. Any one of these credentials identifies a caller:
//
//   - A token. The agent keeps its salted SHA-256 and no copy. An unknown token is rejected, even beside other credentials.
//   - A certificate that the listener's TLS has verified, by its common name or one of its alternative names.
//   - The user or a group of a process on this host, at the time when it connected to a unix socket: SO_PEERCRED of unix(7),
//     and SO_PEERGROUPS for its supplementary groups, since Linux 4.13.
//
// An identity may be limited to streams and to a rate. Callers with a token of the listener's own file have no limits.
//
// # The rate
//
// An identity may send one second of its rate at once, and continuously after that. A batch is accepted whole or not at all.
// A batch that is larger than one second of the rate is accepted after a second without other events, and the next ones wait
// until the excess is made up. All listeners share the budget.
//
// # Figures
//
// The events of each identity, its rejected events and their reasons are counted from the start of the process, as long as
// the identity is in the configuration. Their number is therefore limited by the configuration. Unknown callers are counted
// together, and the agent keeps the origin of their last request.
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
