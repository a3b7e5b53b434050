package config

import (
	"github.com/standpipe/standpipe/agent/config/internal/odd"
	"github.com/standpipe/standpipe/agent/config/internal/rule"
	"github.com/standpipe/standpipe/agent/config/internal/schema"
)

// ClientTLS is the TLS of a destination's connections.
type ClientTLS struct {
	On                bool
	CAFile            string // empty: the system's CAs
	CertFile, KeyFile string // empty: no client certificate
	ServerName        string // empty: the host of the address
}

var clientTLSSection = schema.Section[ClientTLS]{
	Settings: []schema.Setting[ClientTLS]{
		schema.Text("ca_file", pemFile, func(t *ClientTLS) *string { return &t.CAFile }, schema.NotEmpty).Warns(odd.Path).ByDefault("the CAs of the system").
			Means("The CAs of the server's certificate. A changed file is read again."),
		schema.Text("cert_file", pemFile, func(t *ClientTLS) *string { return &t.CertFile }, schema.NotEmpty).Warns(odd.Path).
			Means("The client certificate, with its chain. A changed file is read again."),
		schema.Text("key_file", pemFile, func(t *ClientTLS) *string { return &t.KeyFile }, schema.NotEmpty).Warns(odd.Path).
			Means("The private key of the client certificate."),
		schema.Text("server_name", `a host, like "kafka.example"`, func(t *ClientTLS) *string { return &t.ServerName }, rule.Host).ByDefault("the host of the address").
			Means("The name that the server's certificate must have."),
	},
	Check: func(b *schema.Block, t *ClientTLS) {
		t.On = true
		for _, pair := range [][2]string{{"cert_file", "key_file"}, {"key_file", "cert_file"}} {
			if _, other := b.Attribute(pair[1]); b.Wrote(pair[0]) && !other {
				b.Fault(b.At(pair[0]), "%s: there is no %s beside it; allowed is both or none", pair[0], pair[1])
			}
		}
	},
}
