package config

import (
	"os"
	"time"

	"github.com/standpipe/standpipe/agent/config/internal/odd"
	"github.com/standpipe/standpipe/agent/config/internal/pattern"
	"github.com/standpipe/standpipe/agent/config/internal/profile"
	"github.com/standpipe/standpipe/agent/config/internal/rule"
	"github.com/standpipe/standpipe/agent/config/internal/schema"
)

// leastMemory is enough for one destination.
const leastMemory = 48 * mib

// shortest is the least duration of settings that cannot be zero.
const shortest = time.Millisecond

// whenFull is the values of on_full.
var whenFull = []string{"reject", "block", "drop_oldest"}

// Describe returns the documentation of every block and setting, with their defaults, in the order of the schema.
func Describe() []Section {
	return fileSection.DescribeTop("These settings are at the top of the file, outside of all blocks.", defaultConfig())
}

var fileSection = schema.Section[Config]{
	Settings: []schema.Setting[Config]{
		schema.Profile("profile", func(c *Config) *string { return &c.Profile }, profile.All()).
			Means("Values for the settings that the file does not have. gateway: for small boxes with a flash card; validate --explain prints the values."),
		schema.Text("node_name", `a name, like "gateway-17"`, func(c *Config) *string { return &c.NodeName }, schema.NotEmpty).ByDefault("the host name").NeedsRestart().
			Means("The name of the agent in the status, in envelopes and in its log lines."),
		schema.Text("data_dir", `the path of a folder, like "/var/lib/standpipe"`, func(c *Config) *string { return &c.DataDir }, schema.NotEmpty).NeedsRestart().Warns(odd.DataDir).
			Means("The folder of the write-ahead log and the dead letters. The agent creates it with mode 0700."),
		schema.Word("log_level", func(c *Config) *string { return &c.LogLevel }, "trace", "debug", "info", "warn", "error").
			Means("The least level of the log lines on standard error."),
		schema.Word("log_format", func(c *Config) *string { return &c.LogFormat }, "text", "json").NeedsRestart().
			Means("The format of the log lines."),
		schema.Duration("shutdown_timeout", "25s", func(c *Config) *time.Duration { return &c.ShutdownTimeout }, 0).
			Means("The time for shipping events after SIGTERM. The remaining events stay in the log."),
		schema.Duration("drain_delay", "5s", func(c *Config) *time.Duration { return &c.DrainDelay }, 0).
			Means("After SIGTERM, events are accepted for this time, while /readyz is 503 at once. Then shutdown_timeout begins."),
		schema.ByteRate("bandwidth", "256KiB/s", func(c *Config) *int64 { return &c.Bandwidth }, leastBandwidth).
			Means("The cap for the request bytes of all AWS destinations together."),
		schema.Size("memory", "64MiB", func(c *Config) *int64 { return &c.Memory }, leastMemory, 0).ByDefault("the limit of the cgroup, or the memory of the host").NeedsRestart().
			Means("The memory that the agent may take. The limit of the Go runtime, the events in memory and the requests of listeners are chosen to fit."),
	},
	Blocks: []schema.Child[Config]{
		{Name: "listener", Labels: []string{"TYPE"}, Types: true, Read: readListener, Describe: describeListeners,
			Meaning: "A listener for producers."},
		schema.Inner("admin", &adminSection, func(c *Config) *Admin { return &c.Admin }).NeedsRestart().
			Means("The listener for operators: metrics, health, status and dead letters."),
		schema.Inner("metrics", &metricsSection, func(c *Config) *Metrics { return &c.Metrics }).
			Means("The metrics of GET /metrics."),
		schema.Inner("wal", &walSection, func(c *Config) *WAL { return &c.WAL }).NeedsRestart().Always().
			Means("The write-ahead log. Every event is synced to it before the acknowledgement."),
		awsDefaults(),
		schema.Inner("prices", &pricesSection, func(c *Config) *Prices { return &c.Prices }).
			Means("The prices for the cost in the status and in the command cost. A GB is 2^30 bytes. Hourly prices are not included."),
		{Name: "identity", Labels: []string{"NAME"}, Read: readIdentity,
			Describe: func(d *schema.Description, at schema.Place, _ *Config) {
				identitySection.Describe(d, at, new(Identity))
			},
			Meaning: "A producer. It may use each listener with an auth block, unless the block lists others. One credential is enough."},
		sharedDestinations,
		{Name: "stream", Labels: []string{"NAME"}, Read: readStream,
			Describe: func(d *schema.Description, at schema.Place, _ *Config) {
				defaults := defaultStream("*")
				streamSection.Describe(d, at, &defaults)
			},
			Meaning: "A stream, or all streams that match a pattern with *. An exact name takes precedence over patterns, and a pattern " +
				"with more literal text over others."},
	},
	Check: checkFile,
}

// awsDefaults is the aws block of the file. It comes before stream in the table because destinations include its settings.
func awsDefaults() schema.Child[Config] {
	c := schema.Inner("aws", &awsSection, func(c *Config) *AWS { return &c.AWS }).
		Means("Access to AWS, for all destinations. Credentials and empty settings come from the default chain of the SDK.")
	read := c.Read
	c.Read = func(b *schema.Block, into *Config) {
		read(b, into)
		stateOf(b).aws = into.AWS
		warnRegion(b, into.AWS)
	}
	return c
}

// optional is inner for a field that is nil without the block.
func optional[T, U any](name string, s *schema.Section[U], field func(*T) **U) schema.Child[T] {
	return schema.Inner(name, s, func(into *T) *U {
		*field(into) = new(U)
		return *field(into)
	})
}

var (
	tlsSection = schema.Section[TLS]{Settings: []schema.Setting[TLS]{
		schema.Text("cert_file", pemFile, func(t *TLS) *string { return &t.CertFile }, schema.NotEmpty).Warns(odd.Path).Needed().
			Means("The certificate of the listener, with its chain. A changed file is read again."),
		schema.Text("key_file", pemFile, func(t *TLS) *string { return &t.KeyFile }, schema.NotEmpty).Warns(odd.Path).Needed().
			Means("The private key of the certificate."),
		schema.Text("client_ca_file", pemFile, func(t *TLS) *string { return &t.ClientCAFile }, schema.NotEmpty).Warns(odd.Path).
			Means("The CAs of client certificates. With it, clients may present a certificate."),
	}}

	authSection = schema.Section[Auth]{Settings: []schema.Setting[Auth]{
		schema.Text("token_file", tokenFile, func(a *Auth) *string { return &a.TokenFile }, schema.NotEmpty).Warns(odd.Path).
			Means("Bearer tokens with access to everything that the listener serves. A changed file is read again."),
		schema.Limiting("identities", `a list of names that identity blocks have, like ["metering"]`, func(a *Auth) *[]string { return &a.Identities }, schema.NotEmpty).ByDefault("all identities; of admin: none").
			Means("The identities with access."),
	}, Check: checkAuth}

	adminSection = schema.Section[Admin]{
		Settings: []schema.Setting[Admin]{
			schema.Address("address", func(a *Admin) (*string, *string) { return &a.Network, &a.Address }).
				Means("The address that the listener binds."),
			schema.Mode("mode", func(a *Admin) *os.FileMode { return &a.Mode }).
				Means("The permissions of the socket file, for a unix socket.").ByDefault("\"0660\" for a unix socket"),
			schema.Flag("insecure", func(a *Admin) *bool { return &a.Insecure }).
				Means("Allows an address that is not loopback without tls and auth."),
		},
		Blocks: []schema.Child[Admin]{
			optional("tls", &tlsSection, func(a *Admin) **TLS { return &a.TLS }).
				Means("Serves TLS."),
			optional("auth", &authSection, func(a *Admin) **Auth { return &a.Auth }).
				Means("Accepts only known callers, except for /livez and /readyz."),
		},
		Check: checkAdmin,
	}

	metricsSection = schema.Section[Metrics]{Settings: []schema.Setting[Metrics]{
		schema.Word("per_stream", func(m *Metrics) *string { return &m.PerStream }, "auto", "full", "basic").
			Means("The metrics with a series for each stream: full is all with the label stream, basic is events, backlog and states, and " +
				"auto is full for up to 100 destinations of all streams together, then basic."),
	}}

	walSection = schema.Section[WAL]{
		Settings: []schema.Setting[WAL]{
			schema.Size("max_size", "8GiB", func(w *WAL) *int64 { return &w.MaxSize }, mib, 0).Reloaded().
				Means("The limit for the disk space of all segments together. Below the used space, events are rejected until enough are delivered."),
			schema.Size("segment_size", "64MiB", func(w *WAL) *int64 { return &w.SegmentSize }, 64*kib, 0).
				Means("The size of one segment file. It is lowered to a quarter of max_size."),
			schema.Duration("commit_linger", "2ms", func(w *WAL) *time.Duration { return &w.Linger.Commit }, 0).Reloaded().
				Means("The longest wait of an append for others that share its commit."),
			schema.Duration("accepted_linger", "1s", func(w *WAL) *time.Duration { return &w.Linger.Accepted }, 0).Reloaded().
				Means("The same wait, of an append with the ack level accepted. A crash of the agent may lose such events."),
			schema.Duration("checkpoint_interval", "10s", func(w *WAL) *time.Duration { return &w.Checkpoints }, shortest).ByDefault("250ms, or commit_linger if that is longer").
				Means("The longest time until a delivery is noted on the disk. Events that were delivered within it may be delivered again after a crash. " +
					"A note joins a commit of appends if it can."),
			schema.Word("on_full", func(w *WAL) *string { return &w.OnFull }, whenFull...).Reloaded().
				Means("The reaction to an append beyond max_size: reject it, block it, or drop the oldest events."),
			minFree("min_free", func(w *WAL) *MinFree { return &w.MinFree }).Reloaded().
				Means("The free space of the file system that is left to others. Below it, appends are rejected."),
			schema.Duration("retain", "1h", func(w *WAL) *time.Duration { return &w.Retain }, 0).Reloaded().
				Means("How long a segment that all destinations have settled stays for tap and replay, counted from its seal. It goes earlier when " +
					"new events or min_free want its space. 0s: it goes at once."),
			schema.Duration("max_age", "72h", func(w *WAL) *time.Duration { return &w.MaxAge }, 0).Reloaded().
				Means("Older undelivered events are dropped. 0s: never."),
			schema.Duration("producer_idle", "168h", func(w *WAL) *time.Duration { return &w.ProducerIdle }, time.Minute).
				Means("The sequence of a producer is dropped after this time without an append."),
			schema.Duration("lock_timeout", "30s", func(w *WAL) *time.Duration { return &w.LockTimeout }, shortest).
				Means("The wait at the start for the lock of another agent on the same data_dir."),
		},
		Check: func(b *schema.Block, w *WAL) {
			stateOf(b).maxAge = w.MaxAge
			if !b.Wrote("checkpoint_interval") {
				w.Checkpoints = max(w.Checkpoints, w.Linger.Commit)
			}
			w.SegmentAsked = w.SegmentSize
			w.SegmentSize = min(w.SegmentSize, w.MaxSize/4)
			stateOf(b).wal, stateOf(b).walPos = *w, b.At("min_free")
		},
	}

	awsSection = schema.Section[AWS]{Settings: []schema.Setting[AWS]{
		schema.Text("region", `a region, like "eu-west-1"`, func(a *AWS) *string { return &a.Region }, schema.Anything).
			Means("The AWS region. Empty: from the default chain of the SDK."),
		schema.Text("endpoint", `a URL, like "http://127.0.0.1:4567"`, func(a *AWS) *string { return &a.Endpoint }, rule.Endpoint).
			Means("A URL instead of the endpoint of AWS."),
		schema.Text("profile", `a profile of the shared AWS configuration`, func(a *AWS) *string { return &a.Profile }, schema.Anything).
			Means("A profile of the shared AWS configuration files."),
		schema.Text("role_arn", `a role, like "arn:aws:iam::123456789012:role/standpipe"`, func(a *AWS) *string { return &a.RoleARN }, rule.Role).
			Means("A role to assume."),
		schema.Text("external_id", `an external ID, like "customer-42"`, func(a *AWS) *string { return &a.ExternalID }, rule.ExternalID).
			Means("The external ID that the trust policy of the role needs."),
		schema.Text("session_name", `a name, like "gateway-17"`, func(a *AWS) *string { return &a.SessionName }, rule.SessionName).
			Means("The name of the role's session, as CloudTrail shows it. Empty: chosen by the SDK."),
	}}
)

const (
	tokenFile = "the path of a file with tokens, one a line"
	pemFile   = "the path of a PEM file"
)

var streamSection = schema.Section[Stream]{
	Settings: []schema.Setting[Stream]{
		schema.Word("format", func(s *Stream) *string { return &s.Format }, "json", "text", "bytes").
			Means("The format of the events. json and text events have one line; json events are checked."),
		schema.Size("max_event_size", "1000KiB", func(s *Stream) *int64 { return &s.MaxEventSize }, 1, gib).
			Means("The limit for the data and the attributes of one event. Larger events are rejected."),
		schema.Word("ack", func(s *Stream) *string { return &s.Ack }, "accepted", "durable", "delivered").
			Means("The default time of the acknowledgement: accepted, durable (synced) or delivered."),
		schema.Duration("commit_linger", "250ms", func(s *Stream) *time.Duration { return &s.Linger.Commit }, 0).ByDefault("as in wal").
			Means("The longest wait of an append for others that share its commit."),
		schema.Duration("accepted_linger", "1s", func(s *Stream) *time.Duration { return &s.Linger.Accepted }, 0).ByDefault("as in wal").
			Means("The same wait, of an append with the ack level accepted."),
		schema.Word("priority", func(s *Stream) *string { return &s.Priority }, "high", "normal", "low").
			Means("The share of the agent's bandwidth while several streams wait: 16, 4 or 1."),
		schema.Word("catch_up", func(s *Stream) *string { return &s.CatchUp.Order }, OldestFirst, Latest).
			Means("The order after an outage: oldest_first keeps the order of each key; with latest the newest event of each key goes first."),
		schema.Share("fresh_share", func(s *Stream) *float64 { return &s.CatchUp.FreshShare }).ByDefault("none").
			Means("After an outage, the part of the sent bytes that newer events have while older ones wait. Their keys lose their order across the outage."),
		schema.Duration("max_age", "72h", func(s *Stream) *time.Duration { return &s.MaxAge }, 0).ByDefault("as in wal").
			Means("Older undelivered events are dropped. 0s: never."),
		schema.Size("max_size", "1GiB", func(s *Stream) *int64 { return &s.MaxSize }, 64*kib, 0).
			Means("The limit for the undelivered bytes of the stream, measured at its slowest destination."),
		schema.Word("on_full", func(s *Stream) *string { return &s.OnFull }, whenFull...).ByDefault("as in wal").
			Means("The reaction to an append beyond max_size."),
		schema.Count("max_streams", "1000", func(s *Stream) *int64 { return &s.MaxStreams }, 1, maxConnections).
			Means("The limit for the streams of a pattern. The first event of one more is rejected."),
		uses("destinations").
			Means("The names of destination blocks of the file. The stream has a cursor of its own at each."),
	},
	Blocks: []schema.Child[Stream]{
		{Name: "destination", Labels: []string{"TYPE", "NAME"}, Types: true, Read: readDestination, Describe: describeDestinations,
			Meaning: "A target of the stream's events. Every destination has its own cursor: a stuck one does not delay others."},
	},
	Check: checkStream,
}

func readStream(b *schema.Block, c *Config) {
	if err := pattern.ValidPattern(b.Labels[0]); err != nil {
		b.Fault(b.LabelPos[0], "stream name %v", err)
	}
	s := defaultStream(b.Labels[0])
	s.Pos = b.Head
	streamSection.Read(b, &s)
	for _, other := range c.Streams {
		if other.Name == s.Name {
			b.Fault(b.LabelPos[0], "stream %s is given twice; a name or pattern may stand once, first at %s",
				schema.Quote(s.Name), other.Pos.SeenFrom(b.Head))
			return
		}
	}
	c.Streams = append(c.Streams, s)
}
