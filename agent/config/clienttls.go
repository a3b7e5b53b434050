package config

// ClientTLS is the TLS of a destination's connections.
type ClientTLS struct {
	On                bool
	CAFile            string // empty: the system's CAs
	CertFile, KeyFile string // empty: no client certificate
	ServerName        string // empty: the host of the address
}

var clientTLSSection = section[ClientTLS]{
	settings: []setting[ClientTLS]{
		text("ca_file", pemFile, func(t *ClientTLS) *string { return &t.CAFile }, notEmpty).byDefault("the CAs of the system").
			means("The CAs of the server's certificate. A changed file is read again."),
		text("cert_file", pemFile, func(t *ClientTLS) *string { return &t.CertFile }, notEmpty).
			means("The client certificate, with its chain. A changed file is read again."),
		text("key_file", pemFile, func(t *ClientTLS) *string { return &t.KeyFile }, notEmpty).
			means("The private key of the client certificate."),
		text("server_name", `a host, like "kafka.example"`, func(t *ClientTLS) *string { return &t.ServerName }, wrongHost).byDefault("the host of the address").
			means("The name that the server's certificate must have."),
	},
	check: func(b *block, t *ClientTLS) {
		t.On = true
		for _, pair := range [][2]string{{"cert_file", "key_file"}, {"key_file", "cert_file"}} {
			if _, other := b.attribute(pair[1]); b.wrote(pair[0]) && !other {
				b.fault(b.at(pair[0]), "%s: there is no %s beside it; allowed is both or none", pair[0], pair[1])
			}
		}
	},
}

func wrongHost(s string) string {
	if s == "" || !validHost(s) {
		return "is no host"
	}
	return ""
}
