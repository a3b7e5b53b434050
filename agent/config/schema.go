package config

import (
	"os"
	"time"
)

// shortest is the least duration of settings that cannot be zero.
const shortest = time.Millisecond

// whenFull is the values of on_full.
var whenFull = []string{"reject", "block", "drop_oldest"}

// Describe returns the documentation of every block and setting, with their defaults, in the order of the schema.
func Describe() []Section {
	return fileSection.describeTop("These settings are at the top of the file, outside of all blocks.", defaultConfig())
}

var fileSection = section[Config]{
	settings: []setting[Config]{
		text("node_name", `a name, like "gateway-17"`, func(c *Config) *string { return &c.NodeName }, notEmpty).byDefault("the host name").needsRestart().
			means("The name of the agent in the status, in envelopes and in its log lines."),
		text("data_dir", `the path of a folder, like "/var/lib/standpipe"`, func(c *Config) *string { return &c.DataDir }, notEmpty).needsRestart().
			means("The folder of the write-ahead log and the dead letters. The agent creates it with mode 0700."),
		word("log_level", func(c *Config) *string { return &c.LogLevel }, "trace", "debug", "info", "warn", "error").
			means("The least level of the log lines on standard error."),
		word("log_format", func(c *Config) *string { return &c.LogFormat }, "text", "json").needsRestart().
			means("The format of the log lines."),
		duration("shutdown_timeout", "25s", func(c *Config) *time.Duration { return &c.ShutdownTimeout }, 0).
			means("The time for shipping events after SIGTERM. The remaining events stay in the log."),
		duration("drain_delay", "5s", func(c *Config) *time.Duration { return &c.DrainDelay }, 0).
			means("After SIGTERM, events are accepted for this time, while /readyz is 503 at once. Then shutdown_timeout begins."),
		byteRate("bandwidth", "256KiB/s", func(c *Config) *int64 { return &c.Bandwidth }, leastBandwidth).
			means("The cap for the request bytes of all AWS destinations together."),
	},
	blocks: []child[Config]{
		{name: "listener", labels: []string{"TYPE"}, types: true, read: readListener, describe: describeListeners,
			meaning: "A listener for producers."},
		inner("admin", &adminSection, func(c *Config) *Admin { return &c.Admin }).needsRestart().
			means("The listener for operators: metrics, health, status and dead letters."),
		inner("wal", &walSection, func(c *Config) *WAL { return &c.WAL }).needsRestart().
			means("The write-ahead log. Every event is synced to it before the acknowledgement."),
		awsDefaults(),
		inner("prices", &pricesSection, func(c *Config) *Prices { return &c.Prices }).
			means("The prices for the cost in the status and in the command cost. A GB is 2^30 bytes. Hourly prices are not included."),
		{name: "identity", labels: []string{"NAME"}, read: readIdentity,
			describe: func(d *description, at place, _ *Config) { identitySection.describe(d, at, new(Identity)) },
			meaning:  "A producer. It may use each listener with an auth block, unless the block lists others. One credential is enough."},
		sharedDestinations,
		{name: "stream", labels: []string{"NAME"}, read: readStream,
			describe: func(d *description, at place, _ *Config) {
				defaults := defaultStream("*")
				streamSection.describe(d, at, &defaults)
			},
			meaning: "A stream, or all streams that match a pattern with *. An exact name takes precedence over patterns, and a pattern " +
				"with more literal text over others."},
	},
	check: checkFile,
}

// awsDefaults is the aws block of the file. It comes before stream in the table because destinations include its settings.
func awsDefaults() child[Config] {
	c := inner("aws", &awsSection, func(c *Config) *AWS { return &c.AWS }).
		means("Access to AWS, for all destinations. Credentials and empty settings come from the default chain of the SDK.")
	read := c.read
	c.read = func(b *block, into *Config) {
		read(b, into)
		stateOf(b).aws = into.AWS
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
		text("cert_file", pemFile, func(t *TLS) *string { return &t.CertFile }, notEmpty).needed().
			means("The certificate of the listener, with its chain. A changed file is read again."),
		text("key_file", pemFile, func(t *TLS) *string { return &t.KeyFile }, notEmpty).needed().
			means("The private key of the certificate."),
		text("client_ca_file", pemFile, func(t *TLS) *string { return &t.ClientCAFile }, notEmpty).
			means("The CAs of client certificates. With it, clients may present a certificate."),
	}}

	authSection = section[Auth]{settings: []setting[Auth]{
		text("token_file", tokenFile, func(a *Auth) *string { return &a.TokenFile }, notEmpty).
			means("Bearer tokens with access to everything that the listener serves. A changed file is read again."),
		limiting("identities", `a list of names that identity blocks have, like ["metering"]`, func(a *Auth) *[]string { return &a.Identities }, notEmpty).byDefault("all identities; of admin: none").
			means("The identities with access."),
	}, check: checkAuth}

	adminSection = section[Admin]{
		settings: []setting[Admin]{
			address("address", func(a *Admin) (*string, *string) { return &a.Network, &a.Address }).
				means("The address that the listener binds."),
			mode("mode", func(a *Admin) *os.FileMode { return &a.Mode }).
				means("The permissions of the socket file, for a unix socket.").byDefault("\"0660\" for a unix socket"),
			flag("insecure", func(a *Admin) *bool { return &a.Insecure }).
				means("Allows an address that is not loopback without tls and auth."),
		},
		blocks: []child[Admin]{
			optional("tls", &tlsSection, func(a *Admin) **TLS { return &a.TLS }).
				means("Serves TLS."),
			optional("auth", &authSection, func(a *Admin) **Auth { return &a.Auth }).
				means("Accepts only known callers, except for /livez and /readyz."),
		},
		check: checkAdmin,
	}

	walSection = section[WAL]{
		settings: []setting[WAL]{
			size("max_size", "8GiB", func(w *WAL) *int64 { return &w.MaxSize }, 256*kib, 0).
				means("The limit for the disk space of all segments together."),
			size("segment_size", "64MiB", func(w *WAL) *int64 { return &w.SegmentSize }, 64*kib, 0).
				means("The size of one segment file. It is lowered to a quarter of max_size."),
			duration("commit_linger", "2ms", func(w *WAL) *time.Duration { return &w.CommitLinger }, 0).
				means("The wait for more appends before a commit."),
			word("on_full", func(w *WAL) *string { return &w.OnFull }, whenFull...).
				means("The reaction to an append beyond max_size: reject it, block it, or drop the oldest events."),
			minFree("min_free", func(w *WAL) *MinFree { return &w.MinFree }).reloaded().
				means("The free space of the file system that is left to others. Below it, appends are rejected."),
			duration("max_age", "72h", func(w *WAL) *time.Duration { return &w.MaxAge }, 0).reloaded().
				means("Older undelivered events are dropped. 0s: never."),
			duration("producer_idle", "168h", func(w *WAL) *time.Duration { return &w.ProducerIdle }, time.Minute).
				means("The sequence of a producer is dropped after this time without an append."),
			duration("lock_timeout", "30s", func(w *WAL) *time.Duration { return &w.LockTimeout }, shortest).
				means("The wait at the start for the lock of another agent on the same data_dir."),
		},
		check: func(b *block, w *WAL) {
			stateOf(b).maxAge = w.MaxAge
			w.SegmentAsked = w.SegmentSize
			w.SegmentSize = min(w.SegmentSize, w.MaxSize/4)
		},
	}

	awsSection = section[AWS]{settings: []setting[AWS]{
		text("region", `a region, like "eu-west-1"`, func(a *AWS) *string { return &a.Region }, anything).
			means("The AWS region. Empty: from the default chain of the SDK."),
		text("endpoint", `a URL, like "http://127.0.0.1:4567"`, func(a *AWS) *string { return &a.Endpoint }, wrongEndpoint).
			means("A URL instead of the endpoint of AWS."),
		text("profile", `a profile of the shared AWS configuration`, func(a *AWS) *string { return &a.Profile }, anything).
			means("A profile of the shared AWS configuration files."),
		text("role_arn", `a role, like "arn:aws:iam::123456789012:role/standpipe"`, func(a *AWS) *string { return &a.RoleARN }, wrongRole).
			means("A role to assume."),
		text("external_id", `an external ID, like "customer-42"`, func(a *AWS) *string { return &a.ExternalID }, wrongExternalID).
			means("The external ID that the trust policy of the role needs."),
		text("session_name", `a name, like "gateway-17"`, func(a *AWS) *string { return &a.SessionName }, wrongSessionName).
			means("The name of the role's session, as CloudTrail shows it. Empty: chosen by the SDK."),
	}}
)

const (
	tokenFile = "the path of a file with tokens, one a line"
	pemFile   = "the path of a PEM file"
)

var streamSection = section[Stream]{
	settings: []setting[Stream]{
		word("format", func(s *Stream) *string { return &s.Format }, "json", "text", "bytes").
			means("The format of the events. json and text events have one line; json events are checked."),
		size("max_event_size", "1000KiB", func(s *Stream) *int64 { return &s.MaxEventSize }, 1, gib).
			means("The limit for the data and the attributes of one event. Larger events are rejected."),
		word("ack", func(s *Stream) *string { return &s.Ack }, "accepted", "durable", "delivered").
			means("The default time of the acknowledgement: accepted, durable (synced) or delivered."),
		word("priority", func(s *Stream) *string { return &s.Priority }, "high", "normal", "low").
			means("The share of the agent's bandwidth while several streams wait: 16, 4 or 1."),
		duration("max_age", "72h", func(s *Stream) *time.Duration { return &s.MaxAge }, 0).byDefault("as in wal").
			means("Older undelivered events are dropped. 0s: never."),
		size("max_size", "1GiB", func(s *Stream) *int64 { return &s.MaxSize }, 64*kib, 0).
			means("The limit for the undelivered bytes of the stream, measured at its slowest destination."),
		word("on_full", func(s *Stream) *string { return &s.OnFull }, whenFull...).byDefault("as in wal").
			means("The reaction to an append beyond max_size."),
		count("max_streams", "1000", func(s *Stream) *int64 { return &s.MaxStreams }, 1, maxConnections).
			means("The limit for the streams of a pattern. The first event of one more is rejected."),
		uses("destinations").
			means("The names of destination blocks of the file. The stream has a cursor of its own at each."),
	},
	blocks: []child[Stream]{
		{name: "destination", labels: []string{"TYPE", "NAME"}, types: true, read: readDestination, describe: describeDestinations,
			meaning: "A target of the stream's events. Every destination has its own cursor: a stuck one does not delay others."},
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
			b.fault(b.labelPos[0], "stream %s is given twice; a name or pattern may stand once, first at %s",
				quote(s.Name), other.Pos.seenFrom(b.head))
			return
		}
	}
	c.Streams = append(c.Streams, s)
}
