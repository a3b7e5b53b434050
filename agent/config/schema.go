package config

import (
	"os"
	"time"
)

// shortest is the least duration of settings that cannot be zero.
const shortest = time.Millisecond

// whenFull is the values of on_full.
var whenFull = []string{"reject", "block", "drop_oldest"}

var fileSection = section[Config]{
	settings: []setting[Config]{
		text("node_name", `a name, like "gateway-17"`, func(c *Config) *string { return &c.NodeName }, notEmpty),
		text("data_dir", `the path of a folder, like "/var/lib/standpipe"`, func(c *Config) *string { return &c.DataDir }, notEmpty),
		word("log_level", func(c *Config) *string { return &c.LogLevel }, "trace", "debug", "info", "warn", "error"),
		word("log_format", func(c *Config) *string { return &c.LogFormat }, "text", "json"),
		duration("shutdown_timeout", "25s", func(c *Config) *time.Duration { return &c.ShutdownTimeout }, 0),
		byteRate("bandwidth", "256KiB/s", func(c *Config) *int64 { return &c.Bandwidth }, leastBandwidth),
	},
	blocks: []child[Config]{
		{name: "listener", labels: []string{"TYPE"}, read: readListener, known: knownListener},
		inner("admin", &adminSection, func(c *Config) *Admin { return &c.Admin }),
		inner("wal", &walSection, func(c *Config) *WAL { return &c.WAL }),
		awsDefaults(),
		inner("prices", &pricesSection, func(c *Config) *Prices { return &c.Prices }),
		{name: "identity", labels: []string{"NAME"}, read: readIdentity, known: identitySection.known},
		{name: "stream", labels: []string{"NAME"}, read: readStream, known: streamSection.known},
	},
	check: checkFile,
}

// awsDefaults is the aws block of the file. It comes before stream in the table because destinations include its settings.
func awsDefaults() child[Config] {
	c := inner("aws", &awsSection, func(c *Config) *AWS { return &c.AWS })
	read := c.read
	c.read = func(b *block, into *Config) {
		read(b, into)
		b.r.aws = into.AWS
	}
	return c
}

// optional is inner for a field that is nil without the block.
func optional[T, U any](name string, s *section[U], field func(*T) **U) child[T] {
	return inner(name, s, func(into *T) *U {
		*field(into) = new(U)
		return *field(into)
	})
}

var (
	tlsSection = section[TLS]{settings: []setting[TLS]{
		text("cert_file", pemFile, func(t *TLS) *string { return &t.CertFile }, notEmpty).needed(),
		text("key_file", pemFile, func(t *TLS) *string { return &t.KeyFile }, notEmpty).needed(),
		text("client_ca_file", pemFile, func(t *TLS) *string { return &t.ClientCAFile }, notEmpty),
	}}

	authSection = section[Auth]{settings: []setting[Auth]{
		text("token_file", tokenFile, func(a *Auth) *string { return &a.TokenFile }, notEmpty),
		limiting("identities", `a list of names that identity blocks have, like ["metering"]`, func(a *Auth) *[]string { return &a.Identities }, notEmpty),
	}, check: checkAuth}

	adminSection = section[Admin]{
		settings: []setting[Admin]{
			address("address", func(a *Admin) (*string, *string) { return &a.Network, &a.Address }),
			mode("mode", func(a *Admin) *os.FileMode { return &a.Mode }),
			flag("insecure", func(a *Admin) *bool { return &a.Insecure }),
		},
		blocks: []child[Admin]{
			optional("tls", &tlsSection, func(a *Admin) **TLS { return &a.TLS }),
			optional("auth", &authSection, func(a *Admin) **Auth { return &a.Auth }),
		},
		check: checkAdmin,
	}

	walSection = section[WAL]{
		settings: []setting[WAL]{
			size("max_size", "8GiB", func(w *WAL) *int64 { return &w.MaxSize }, 256*kib, 0),
			size("segment_size", "64MiB", func(w *WAL) *int64 { return &w.SegmentSize }, 64*kib, 0),
			duration("commit_linger", "2ms", func(w *WAL) *time.Duration { return &w.CommitLinger }, 0),
			word("on_full", func(w *WAL) *string { return &w.OnFull }, whenFull...),
			duration("max_age", "72h", func(w *WAL) *time.Duration { return &w.MaxAge }, 0),
			duration("producer_idle", "168h", func(w *WAL) *time.Duration { return &w.ProducerIdle }, time.Minute),
			duration("lock_timeout", "30s", func(w *WAL) *time.Duration { return &w.LockTimeout }, shortest),
		},
		check: func(b *block, w *WAL) {
			b.r.maxAge = w.MaxAge
			w.SegmentAsked = w.SegmentSize
			w.SegmentSize = min(w.SegmentSize, w.MaxSize/4)
		},
	}

	awsSection = section[AWS]{settings: []setting[AWS]{
		text("region", `a region, like "eu-west-1"`, func(a *AWS) *string { return &a.Region }, anything),
		text("endpoint", `a URL, like "http://127.0.0.1:4567"`, func(a *AWS) *string { return &a.Endpoint }, wrongEndpoint),
		text("profile", `a profile of the shared AWS configuration`, func(a *AWS) *string { return &a.Profile }, anything),
		text("role_arn", `a role, like "arn:aws:iam::123456789012:role/standpipe"`, func(a *AWS) *string { return &a.RoleARN }, wrongRole),
	}}
)

const (
	tokenFile = "the path of a file with tokens, one a line"
	pemFile   = "the path of a PEM file"
)

var streamSection = section[Stream]{
	settings: []setting[Stream]{
		word("format", func(s *Stream) *string { return &s.Format }, "json", "text", "bytes"),
		size("max_event_size", "1000KiB", func(s *Stream) *int64 { return &s.MaxEventSize }, 1, gib),
		word("ack", func(s *Stream) *string { return &s.Ack }, "accepted", "durable", "delivered"),
		word("priority", func(s *Stream) *string { return &s.Priority }, "high", "normal", "low"),
		duration("max_age", "72h", func(s *Stream) *time.Duration { return &s.MaxAge }, 0),
		size("max_size", "1GiB", func(s *Stream) *int64 { return &s.MaxSize }, 64*kib, 0),
		word("on_full", func(s *Stream) *string { return &s.OnFull }, whenFull...),
		count("max_streams", "1000", func(s *Stream) *int64 { return &s.MaxStreams }, 1, maxConnections),
	},
	blocks: []child[Stream]{
		{name: "destination", labels: []string{"TYPE", "NAME"}, read: readDestination, known: knownDestination},
	},
	check: checkStream,
}

func readStream(b *block, c *Config) {
	if err := validPattern(b.labels[0]); err != nil {
		b.fault(b.labelPos[0], "stream name %v", err)
	}
	s := defaultStream(b.labels[0])
	s.Pos = b.head
	streamSection.read(b, &s)
	for _, other := range c.Streams {
		if other.Name == s.Name {
			b.fault(b.labelPos[0], "stream %s is given twice; a name or pattern may stand once, first at line %d",
				quote(s.Name), other.Pos.Line)
			return
		}
	}
	c.Streams = append(c.Streams, s)
}
