package config

import (
	"os"
	"slices"
	"time"
)

// The limits of what one record may hold: Amazon Data Firehose API Reference, Record (1,024,000
// bytes before base64), and Kinesis Data Streams, PutRecordsRequestEntry (1 MiB unless the stream
// was given more), both November 2026.
const (
	firehoseRecord = 1_024_000
	kinesisRecord  = 1 << 20
)

// maxLine is the longest line whose end a socket listener looks for.
const maxLine = 64 * mib

// leastBandwidth carries an event of 1 MiB within a quarter of an hour.
const leastBandwidth = kib

// shortest is the least duration where none at all makes no sense.
const shortest = time.Millisecond

// whenFull is what an append may meet.
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

// awsDefaults is the aws block of the file: it stands before stream in the table so that every
// destination finds it read.
func awsDefaults() child[Config] {
	c := inner("aws", &awsSection, func(c *Config) *AWS { return &c.AWS })
	read := c.read
	c.read = func(b *block, into *Config) {
		read(b, into)
		b.r.aws = into.AWS
	}
	return c
}

// listenerSection is what all listeners have and what one type has of its own.
func listenerSection(own []setting[Listener], blocks ...child[Listener]) *section[Listener] {
	s := &section[Listener]{
		settings: []setting[Listener]{
			address("address", func(l *Listener) (*string, *string) { return &l.Network, &l.Address }).needed(),
			mode("mode", func(l *Listener) *os.FileMode { return &l.Mode }),
		},
		blocks: append([]child[Listener]{
			optional("tls", &tlsSection, func(l *Listener) **TLS { return &l.TLS }),
			optional("auth", &authSection, func(l *Listener) **Auth { return &l.Auth }),
		}, blocks...),
		check: checkListener,
	}
	s.settings = append(s.settings, own...)
	s.settings = append(s.settings,
		count("max_connections", "1024", func(l *Listener) *int64 { return &l.MaxConnections }, 1, maxConnections),
		flag("insecure", func(l *Listener) *bool { return &l.Insecure }))
	return s
}

// optional is inner for a field that is nil where the block is missing.
func optional[T, U any](name string, s *section[U], field func(*T) **U) child[T] {
	return inner(name, s, func(into *T) *U {
		*field(into) = new(U)
		return *field(into)
	})
}

var (
	listenerTypes = []string{"grpc", "socket", "http"}

	maxRequestSize = size("max_request_size", "16MiB", func(l *Listener) *int64 { return &l.MaxRequestSize }, 1, gib)

	listenerSections = map[string]*section[Listener]{
		"grpc": listenerSection([]setting[Listener]{maxRequestSize,
			count("max_streams", "1024", func(l *Listener) *int64 { return &l.MaxStreams }, 1, maxConnections)}, otlpBlock),
		"socket": listenerSection([]setting[Listener]{
			size("max_line_size", "4MiB", func(l *Listener) *int64 { return &l.MaxLineSize }, 1, maxLine)}),
		"http": listenerSection(append([]setting[Listener]{maxRequestSize}, httpSettings()...), pixelBlock, otlpBlock),
	}

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
	tokenFile     = "the path of a file with tokens, one a line"
	pemFile       = "the path of a PEM file"
	kinesisStream = `the name of a Kinesis stream, or its ARN, like "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"`
)

func knownListener(prefix string) []string {
	var names []string
	for _, typ := range listenerTypes {
		names = append(names, listenerSections[typ].known(prefix+typ+".")...)
	}
	return names
}

func readListener(b *block, c *Config) {
	s, ok := listenerSections[b.labels[0]]
	if !ok {
		b.fault(b.labelPos[0], "listener type %s is unknown; %s", quote(b.labels[0]), instead(b.labels[0], listenerTypes))
		return
	}
	l := defaultListener(b.labels[0])
	l.Pos = b.head
	s.read(b, &l)
	c.Listeners = append(c.Listeners, l)
}

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

var (
	destinationTypes = []string{"kinesis", "firehose", "file"}

	compression = word("compression", func(d *Destination) *string { return &d.Compression }, "none", "gzip", "zstd")

	destinationSections = map[string]*section[Destination]{
		"kinesis": awsDestination(kinesisRecord,
			marked("stream", kinesisStream, func(d *Destination) *string { return &d.Stream }, wrongKinesisStream).needed(),
			word("aggregate", func(d *Destination) *string { return &d.Aggregate }, "kpl", "lines", "none"),
			word("aggregate_by", func(d *Destination) *string { return &d.AggregateBy }, "key", "shard"),
			word("order", func(d *Destination) *string { return &d.Order }, "key", "strict", "none"),
			compression,
		).with(quotaBlock(shardQuota)),
		"firehose": awsDestination(firehoseRecord,
			marked("delivery_stream", "the name of a Firehose stream", func(d *Destination) *string { return &d.DeliveryStream }, wrongAWSName).needed(),
			word("order", func(d *Destination) *string { return &d.Order }, "key", "none"),
			flag("one_key_per_record", func(d *Destination) *bool { return &d.OneKeyPerRecord }),
			compression,
		).with(quotaBlock(streamQuota)),
		"file": destinationSection(0,
			marked("path", `the path of a folder, like "/var/lib/standpipe/out/${stream}"`, func(d *Destination) *string { return &d.Path }, notEmpty).needed(),
			size("roll_size", "64MiB", func(d *Destination) *int64 { return &d.RollSize }, 1, 0),
			duration("roll_interval", "60s", func(d *Destination) *time.Duration { return &d.RollInterval }, shortest),
			mode("file_mode", func(d *Destination) *os.FileMode { return &d.FileMode }),
		),
	}

	shardQuota = section[Quota]{settings: []setting[Quota]{
		byteRate("bytes", "1MB/s", func(q *Quota) *int64 { return &q.Bytes }, 1),
		countRate("records", "1000/s", func(q *Quota) *int64 { return &q.Records }),
	}}
	streamQuota = section[Quota]{settings: append(shardQuota.settings[:2:2],
		countRate("requests", "1000/s", func(q *Quota) *int64 { return &q.Requests }),
	)}

	retrySection = section[Retry]{
		settings: []setting[Retry]{
			duration("initial", "100ms", func(r *Retry) *time.Duration { return &r.Initial }, shortest),
			duration("max", "30s", func(r *Retry) *time.Duration { return &r.Max }, shortest),
			duration("timeout", "30s", func(r *Retry) *time.Duration { return &r.Timeout }, shortest),
		},
		check: checkRetry,
	}
)

// destinationSection is what all destinations have and what one type has of its own; a record of
// it holds at most so many bytes, 0 being no limit.
func destinationSection(record int64, own ...setting[Destination]) *section[Destination] {
	batch := &section[Batch]{settings: []setting[Batch]{
		duration("max_delay", "1s", func(b *Batch) *time.Duration { return &b.MaxDelay }, 0),
		size("record_size", "500KiB", func(b *Batch) *int64 { return &b.RecordSize }, 1, record),
	}}
	return &section[Destination]{
		settings: append(own, flag("envelope", func(d *Destination) *bool { return &d.Envelope })),
		blocks: []child[Destination]{
			inner("batch", batch, func(d *Destination) *Batch { return &d.Batch }),
			inner("retry", &retrySection, func(d *Destination) *Retry { return &d.Retry }),
		},
	}
}

// awsDestination is destinationSection for a type that goes before the file's aws block, with
// settings of its own or with a block of them.
func awsDestination(record int64, own ...setting[Destination]) *section[Destination] {
	field := func(d *Destination) *AWS { return &d.AWS }
	own = append(own,
		flag("pace", func(d *Destination) *bool { return &d.Pace }),
		byteRate("bandwidth", "256KiB/s", func(d *Destination) *int64 { return &d.Bandwidth }, leastBandwidth))
	s := destinationSection(record, append(own, lifted(&awsSection, field)...)...)
	s.blocks = slices.Insert(s.blocks, 0, inner("aws", &awsSection, field))
	s.check = func(b *block, d *Destination) {
		checkAWS(b)
		checkAggregateBy(b, d)
		checkCompression(b, d)
	}
	return s
}

// quotaBlock is the block of what the destination's service takes.
func quotaBlock(s section[Quota]) child[Destination] {
	return inner("quota", &s, func(d *Destination) *Quota { return &d.Quota })
}

func knownDestination(prefix string) []string {
	var names []string
	for _, typ := range destinationTypes {
		names = append(names, destinationSections[typ].known(prefix+typ+".")...)
	}
	return names
}

func readDestination(b *block, s *Stream) {
	typ, name := b.labels[0], b.labels[1]
	if err := ValidStreamName(name); err != nil {
		b.fault(b.labelPos[1], "destination name %v", err)
	}
	section, ok := destinationSections[typ]
	if !ok {
		b.fault(b.labelPos[0], "destination type %s is unknown; %s", quote(typ), instead(typ, destinationTypes))
		return
	}
	d := defaultDestination(typ, name)
	d.Pos = b.head
	if typ != "file" {
		d.AWS = b.r.aws
	}
	section.read(b, &d)
	checkDestination(b, s, &d)
	s.Destinations = append(s.Destinations, d)
}
