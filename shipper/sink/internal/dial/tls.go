package dial

import "crypto/tls"

// sessions is the number of servers whose TLS sessions a client keeps.
const sessions = 64

// Sessions returns a cache for a client's TLS sessions. A resumed session saves the certificates of the server, which are
// most of a handshake's bytes. A client must not use another one's cache: a resumed session checks no certificate, so it would
// pass by the client's own authorities.
func Sessions() tls.ClientSessionCache { return tls.NewLRUClientSessionCache(sessions) }
