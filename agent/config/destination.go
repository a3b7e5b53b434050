package config

import (
	"fmt"
	"os"
	"slices"
	"time"
)

// The services' limits for one record in bytes. Amazon Data Firehose API Reference, Record: 1,024,000 before base64.
// Kinesis Data Streams, PutRecordsRequestEntry: 1 MiB, unless the stream has a higher limit. Both November 2026.
const (
	firehoseRecord = 1_024_000
	kinesisRecord  = 1 << 20
)

// leastBandwidth is enough to send an event of 1 MiB within 18 minutes.
const leastBandwidth = kib

// destinationType is the TYPE of a destination block.
type destinationType struct {
	name     string
	meaning  string
	shared   shared
	own      []setting[Destination]
	blocks   []child[Destination]
	check    func(b *block, d *Destination)                    // of the type's own settings; nil: none
	defaults func(*Destination)                                // of the type's own settings
	price    func(p Prices, u Usage) (amount float64, ok bool) // see Prices.Of; nil: free
}

// shared are the settings that a type has in common with others.
type shared struct {
	aws       bool // the settings of the aws block, beside the others or in a block of their own
	pace      bool
	bandwidth bool
	envelope  bool
	msgpack   bool  // an envelope may be binary
	delay     bool  // batch.max_delay
	records   bool  // batch.record_size: several events may share a record
	maxRecord int64 // the largest batch.record_size; 0: no limit
}

var destinationTypes = []destinationType{
	{
		name:    "kinesis",
		meaning: "Amazon Kinesis Data Streams. " + awsMeaning,
		shared:  shared{aws: true, pace: true, bandwidth: true, envelope: true, msgpack: true, delay: true, records: true, maxRecord: kinesisRecord},
		own: []setting[Destination]{
			marked("stream", kinesisStream, func(d *Destination) *string { return &d.Stream }, wrongKinesisStream).needed().
				means("The Kinesis stream. ${stream} is replaced by the name of the event's stream."),
			word("aggregate", func(d *Destination) *string { return &d.Aggregate }, "kpl", "lines", "none").
				means("The framing of events in a record: kpl, lines, or none for one event a record."),
			word("aggregate_by", func(d *Destination) *string { return &d.AggregateBy }, "key", "shard").
				means("A record has the events of one key, or of all keys of one shard. shard needs aggregate = \"kpl\"."),
			word("order", func(d *Destination) *string { return &d.Order }, "key", "strict", "none").
				means("The order of the events of a key: key sends their requests one after another, strict sends one record a request."),
			compression,
		},
		blocks: []child[Destination]{quotaBlock(shardQuota, "The limits of each shard. If several destinations write to one stream, set the share of each.")},
		check: func(b *block, d *Destination) {
			checkAggregateBy(b, d)
			checkCompression(b, d)
		},
		defaults: func(d *Destination) {
			d.Aggregate, d.AggregateBy, d.Order, d.Compression = "kpl", "key", "key", "none"
		},
		price: func(p Prices, u Usage) (float64, bool) {
			return p.KinesisGB*u.BilledBytes/PricedGB + p.KinesisMillionUnits*u.Units/1e6, p.KinesisGB > 0 || p.KinesisMillionUnits > 0
		},
	},
	{
		name:    "firehose",
		meaning: "Amazon Data Firehose. " + awsMeaning,
		shared:  shared{aws: true, pace: true, bandwidth: true, envelope: true, msgpack: true, delay: true, records: true, maxRecord: firehoseRecord},
		own: []setting[Destination]{
			marked("delivery_stream", "the name of a Firehose stream", func(d *Destination) *string { return &d.DeliveryStream }, wrongAWSName).needed().
				means("The Firehose stream. ${stream} is replaced by the name of the event's stream."),
			word("order", func(d *Destination) *string { return &d.Order }, "key", "none").
				means("The order of the events of a key: key allows one record of a key in a request."),
			flag("one_key_per_record", func(d *Destination) *bool { return &d.OneKeyPerRecord }).
				means("A record has the events of one key, for dynamic partitioning."),
			compression,
		},
		blocks:   []child[Destination]{quotaBlock(streamQuota, "The limits of the Firehose stream.")},
		check:    checkCompression,
		defaults: func(d *Destination) { d.Order, d.Compression = "key", "none" },
		price: func(p Prices, u Usage) (float64, bool) {
			return p.FirehoseGB * u.BilledBytes / PricedGB, p.FirehoseGB > 0
		},
	},
	{
		name:    "file",
		meaning: "Files on this host, in hourly folders.",
		shared:  shared{envelope: true, delay: true, records: true},
		own: []setting[Destination]{
			marked("path", `the path of a folder, like "/var/lib/standpipe/out/${stream}"`, func(d *Destination) *string { return &d.Path }, notEmpty).needed().
				means("The folder of the files. ${stream} is replaced by the name of the event's stream."),
			size("roll_size", "64MiB", func(d *Destination) *int64 { return &d.RollSize }, 1, 0).
				means("A new file is started at this size."),
			duration("roll_interval", "60s", func(d *Destination) *time.Duration { return &d.RollInterval }, shortest).
				means("A new file is started at this age of the current one."),
			mode("file_mode", func(d *Destination) *os.FileMode { return &d.FileMode }).byDefault("\"0644\" minus the umask").
				means("The permissions of the files. Folders also get x for each r."),
		},
		defaults: func(d *Destination) { d.RollSize, d.RollInterval = 64*mib, time.Minute },
	},
	kafkaType,
	s3Type,
	sqsType,
	relayType,
	statsdType,
	{
		name:    "stdout",
		meaning: "Standard output of the agent, one line an event, in the order of the log.",
		shared:  shared{envelope: true, delay: true},
	},
}

const awsMeaning = "Settings of the aws block may stand here or in an own aws block, and override it."

const kinesisStream = `the name of a Kinesis stream, or its ARN, like "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"`

var (
	compression = word("compression", func(d *Destination) *string { return &d.Compression }, "none", "gzip", "zstd").
			means("The compression of each record, for consumers that decompress. It excludes aggregate = \"kpl\" and one_key_per_record.")

	shardQuota = section[Quota]{settings: []setting[Quota]{
		byteRate("bytes", "1MB/s", func(q *Quota) *int64 { return &q.Bytes }, 1).
			means("The limit for bytes.").byDefault("the quota of AWS at its endpoints, else none"),
		countRate("records", "1000/s", func(q *Quota) *int64 { return &q.Records }).
			means("The limit for records.").byDefault("the quota of AWS at its endpoints, else none"),
	}}
	streamQuota = section[Quota]{settings: append(shardQuota.settings[:2:2],
		countRate("requests", "1000/s", func(q *Quota) *int64 { return &q.Requests }).
			means("The limit for requests.").byDefault("the quota of AWS at its endpoints, else none"),
	)}

	retrySection = section[Retry]{
		settings: []setting[Retry]{
			duration("initial", "100ms", func(r *Retry) *time.Duration { return &r.Initial }, shortest).
				means("The first delay."),
			duration("max", "30s", func(r *Retry) *time.Duration { return &r.Max }, shortest).
				means("The longest delay."),
			duration("timeout", "30s", func(r *Retry) *time.Duration { return &r.Timeout }, shortest).
				means("The timeout of one request."),
		},
		check: checkRetry,
	}
)

// section returns the settings and blocks of a destination of the type.
func (t *destinationType) section() *section[Destination] {
	s := &section[Destination]{settings: slices.Clone(t.own), blocks: slices.Clone(t.blocks)}
	if t.shared.pace {
		s.settings = append(s.settings, flag("pace", func(d *Destination) *bool { return &d.Pace }).
			means("Keeps to the quota, and sends less while the service throttles. Otherwise only throttled records are delayed."))
	}
	if t.shared.bandwidth {
		s.settings = append(s.settings, byteRate("bandwidth", "256KiB/s", func(d *Destination) *int64 { return &d.Bandwidth }, leastBandwidth).
			means("The cap for the request bytes of this destination."))
	}
	if t.shared.aws {
		addAWS(s)
	}
	if t.shared.envelope {
		s.settings = append(s.settings, envelope("envelope", func(d *Destination) *string { return &d.Envelope }, t.shared.msgpack).
			means("Wraps each event. json, or true: in a line of JSON with a unique ID. msgpack: in a MessagePack array of stream, time in milliseconds and data."))
	}
	if t.shared.delay {
		s.blocks = append(s.blocks, inner("batch", t.batchSection(), func(d *Destination) *Batch { return &d.Batch }).
			means("The size and the delay of records."))
	}
	s.blocks = append(s.blocks, inner("retry", &retrySection, func(d *Destination) *Retry { return &d.Retry }).
		means("The backoff after a failed request. Requests are retried without end."))
	s.check = func(b *block, d *Destination) {
		if t.shared.aws {
			checkAWS(b, d)
		}
		if t.check != nil {
			t.check(b, d)
		}
	}
	return s
}

func (t *destinationType) batchSection() *section[Batch] {
	s := &section[Batch]{settings: []setting[Batch]{
		duration("max_delay", "1s", func(b *Batch) *time.Duration { return &b.MaxDelay }, 0).
			means("The longest wait of an event to be batched."),
	}}
	if t.shared.records {
		s.settings = append(s.settings, size("record_size", "500KiB", func(b *Batch) *int64 { return &b.RecordSize }, 1, t.shared.maxRecord).
			means("The target size of a record."))
	}
	return s
}

// addAWS adds the settings of AWS, which may stand beside the others or in an aws block, and override the aws block of the
// file.
func addAWS(s *section[Destination]) {
	field := func(d *Destination) *AWS { return &d.AWS }
	var inherited section[AWS]
	for _, set := range awsSection.settings {
		inherited.settings = append(inherited.settings, set.byDefault("as in the aws block of the file"))
	}
	s.settings = append(s.settings, lifted(&inherited, field)...)
	s.blocks = slices.Insert(s.blocks, 0, inner("aws", &inherited, field).
		means("The same settings of AWS as a block."))
}

// envelope is a setting of true, false or the format of an envelope. A line of text has no room for MessagePack.
func envelope[T any](name string, field func(*T) *string, msgpack bool) setting[T] {
	formats := []string{"json"}
	allowed := `true, false or "json"`
	if msgpack {
		formats, allowed = append(formats, "msgpack"), `true, false, "json" or "msgpack"`
	}
	show := func(*T) string { return "false" }
	return setting[T]{name: name, allowed: allowed, kind: "flag", show: show, read: func(v value, into *T) bool {
		if on, ok := v.flag(); ok {
			*field(into) = ""
			if on {
				*field(into) = "json"
			}
			return true
		}
		s, ok := v.text()
		switch {
		case !ok:
			return false
		case s == "msgpack" && !msgpack:
			return v.reject(`"msgpack" is no text, which this destination needs`)
		case !slices.Contains(formats, s):
			return v.reject(quote(s) + " is unknown")
		}
		*field(into) = s
		return true
	}}
}

func quotaBlock(s section[Quota], meaning string) child[Destination] {
	return inner("quota", &s, func(d *Destination) *Quota { return &d.Quota }).means(meaning)
}

func destinationTypeOf(name string) (*destinationType, bool) {
	i := slices.IndexFunc(destinationTypes, func(t destinationType) bool { return t.name == name })
	if i < 0 {
		return nil, false
	}
	return &destinationTypes[i], true
}

// DestinationTypes returns the types of destinations that a file may have.
func DestinationTypes() (names []string) {
	for _, t := range destinationTypes {
		names = append(names, t.name)
	}
	return names
}

// newDestination returns a destination with the defaults of its type.
func (t *destinationType) newDestination(name string) Destination {
	d := Destination{
		Type: t.name, Name: name, Priority: "normal", Pace: t.shared.pace,
		Retry: Retry{Initial: 100 * time.Millisecond, Max: 30 * time.Second, Timeout: 30 * time.Second},
	}
	if t.shared.delay {
		d.Batch.MaxDelay = time.Second
	}
	if t.shared.records {
		d.Batch.RecordSize = 500 * kib
	}
	if t.defaults != nil {
		t.defaults(&d)
	}
	return d
}

func describeDestinations(d *description, at place, _ *Stream) {
	for _, t := range destinationTypes {
		d.open(fmt.Sprintf("destination %q \"NAME\"", t.name), t.meaning)
		defaults := t.newDestination("")
		t.section().describe(d, place{path: at.path + t.name + ".", restart: at.restart}, &defaults)
	}
}

func readDestination(b *block, s *Stream) {
	t, known := typeOfBlock(b)
	if !known {
		return
	}
	d := t.readBlock(b)
	checkDestination(b, s, &d)
	s.Destinations = append(s.Destinations, d)
}

// typeOfBlock returns the type of a destination block, and checks the name of the destination.
func typeOfBlock(b *block) (*destinationType, bool) {
	typ, name := b.labels[0], b.labels[1]
	if err := ValidStreamName(name); err != nil {
		b.fault(b.labelPos[1], "destination name %v", err)
	}
	t, known := destinationTypeOf(typ)
	if !known {
		b.fault(b.labelPos[0], "destination type %s is unknown; %s", quote(typ), instead(typ, DestinationTypes()))
	}
	return t, known
}

// readBlock reads a destination block of the type.
func (t *destinationType) readBlock(b *block) Destination {
	d := t.newDestination(b.labels[1])
	d.Pos = b.head
	if t.shared.aws {
		d.AWS = stateOf(b).aws
	}
	t.section().read(b, &d)
	return d
}
