package config

import (
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/standpipe/standpipe/agent/config/internal/odd"
	"github.com/standpipe/standpipe/agent/config/internal/rule"
	"github.com/standpipe/standpipe/agent/config/internal/schema"
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
	own      []schema.Setting[Destination]
	blocks   []schema.Child[Destination]
	check    func(b *schema.Block, d *Destination)             // of the type's own settings; nil: none
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
		own: []schema.Setting[Destination]{
			marked("stream", kinesisStream, func(d *Destination) *string { return &d.Stream }, rule.KinesisStream).Needed().
				Means("The Kinesis stream. ${stream} is replaced by the name of the event's stream."),
			schema.Word("aggregate", func(d *Destination) *string { return &d.Aggregate }, "kpl", "lines", "none").
				Means("The framing of events in a record: kpl, lines, or none for one event a record."),
			schema.Word("aggregate_by", func(d *Destination) *string { return &d.AggregateBy }, "key", "shard").
				Means("A record has the events of one key, or of all keys of one shard. shard needs aggregate = \"kpl\"."),
			schema.Word("order", func(d *Destination) *string { return &d.Order }, "key", "strict", "none").
				Means("The order of the events of a key: key sends their requests one after another, strict sends one record a request."),
			compression,
		},
		blocks: []schema.Child[Destination]{quotaBlock(shardQuota, "The limits of each shard. If several destinations write to one stream, set the share of each."), provisionBlock(checkProvisionedStream, provisionStream, provisionDelivery)},
		check: func(b *schema.Block, d *Destination) {
			checkAggregateBy(b, d)
			checkCompression(b, d)
		},
		defaults: func(d *Destination) {
			d.Aggregate, d.AggregateBy, d.Order, d.Compression = "kpl", "key", "key", "none"
			defaultProvision(d)
		},
		price: func(p Prices, u Usage) (float64, bool) {
			return p.KinesisGB*u.BilledBytes/PricedGB + p.KinesisMillionUnits*u.Units/1e6, p.KinesisGB > 0 || p.KinesisMillionUnits > 0
		},
	},
	{
		name:    "firehose",
		meaning: "Amazon Data Firehose. " + awsMeaning,
		shared:  shared{aws: true, pace: true, bandwidth: true, envelope: true, msgpack: true, delay: true, records: true, maxRecord: firehoseRecord},
		own: []schema.Setting[Destination]{
			marked("delivery_stream", "the name of a Firehose stream", func(d *Destination) *string { return &d.DeliveryStream }, rule.AWSName).Needed().
				Means("The Firehose stream. ${stream} is replaced by the name of the event's stream."),
			schema.Word("order", func(d *Destination) *string { return &d.Order }, "key", "none").
				Means("The order of the events of a key: key allows one record of a key in a request."),
			schema.Flag("one_key_per_record", func(d *Destination) *bool { return &d.OneKeyPerRecord }).
				Means("A record has the events of one key, for dynamic partitioning."),
			compression,
		},
		blocks: []schema.Child[Destination]{quotaBlock(streamQuota, "The limits of the Firehose stream."), provisionBlock(nil, provisionDelivery)},
		check:  checkCompression,
		defaults: func(d *Destination) {
			d.Order, d.Compression = "key", "none"
			defaultProvision(d)
		},
		price: func(p Prices, u Usage) (float64, bool) {
			return p.FirehoseGB * u.BilledBytes / PricedGB, p.FirehoseGB > 0
		},
	},
	{
		name:    "file",
		meaning: "Files on this host, in hourly folders.",
		shared:  shared{envelope: true, delay: true, records: true},
		own: []schema.Setting[Destination]{
			marked("path", `the path of a folder, like "/var/lib/standpipe/out/${stream}"`, func(d *Destination) *string { return &d.Path }, schema.NotEmpty).Needed().Warns(odd.Folder).
				Means("The folder of the files. ${stream} is replaced by the name of the event's stream."),
			schema.Size("roll_size", "64MiB", func(d *Destination) *int64 { return &d.RollSize }, 1, 0).
				Means("A new file is started at this size."),
			schema.Duration("roll_interval", "60s", func(d *Destination) *time.Duration { return &d.RollInterval }, shortest).
				Means("A new file is started at this age of the current one."),
			schema.Mode("file_mode", func(d *Destination) *os.FileMode { return &d.FileMode }).ByDefault("\"0644\" minus the umask").
				Means("The permissions of the files. Folders also get x for each r."),
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
	compression = schema.Word("compression", func(d *Destination) *string { return &d.Compression }, "none", "gzip", "zstd").
			Means("The compression of each record, for consumers that decompress. It excludes aggregate = \"kpl\" and one_key_per_record.")

	shardQuota = schema.Section[Quota]{Settings: []schema.Setting[Quota]{
		schema.ByteRate("bytes", "1MB/s", func(q *Quota) *int64 { return &q.Bytes }, 1).
			Means("The limit for bytes.").ByDefault("the quota of AWS at its endpoints, else none"),
		schema.CountRate("records", "1000/s", func(q *Quota) *int64 { return &q.Records }).
			Means("The limit for records.").ByDefault("the quota of AWS at its endpoints, else none"),
	}}
	streamQuota = schema.Section[Quota]{Settings: append(shardQuota.Settings[:2:2],
		schema.CountRate("requests", "1000/s", func(q *Quota) *int64 { return &q.Requests }).
			Means("The limit for requests.").ByDefault("the quota of AWS at its endpoints, else none"),
	)}

	retrySection = schema.Section[Retry]{
		Settings: []schema.Setting[Retry]{
			schema.Duration("initial", "100ms", func(r *Retry) *time.Duration { return &r.Initial }, shortest).
				Means("The first delay."),
			schema.Duration("max", "30s", func(r *Retry) *time.Duration { return &r.Max }, shortest).
				Means("The longest delay."),
			schema.Duration("timeout", "30s", func(r *Retry) *time.Duration { return &r.Timeout }, shortest).
				Means("The timeout of one request."),
		},
		Check: checkRetry,
	}
)

// section returns the settings and blocks of a destination of the type.
func (t *destinationType) section() *schema.Section[Destination] {
	s := &schema.Section[Destination]{Settings: slices.Clone(t.own), Blocks: slices.Clone(t.blocks)}
	if t.shared.pace {
		s.Settings = append(s.Settings, schema.Flag("pace", func(d *Destination) *bool { return &d.Pace }).
			Means("Keeps to the quota, and sends less while the service throttles. Otherwise only throttled records are delayed."))
	}
	if t.shared.bandwidth {
		s.Settings = append(s.Settings, schema.ByteRate("bandwidth", "256KiB/s", func(d *Destination) *int64 { return &d.Bandwidth }, leastBandwidth).
			Means("The cap for the request bytes of this destination."))
	}
	if t.shared.aws {
		addAWS(s)
	}
	if t.shared.envelope {
		s.Settings = append(s.Settings, envelope("envelope", func(d *Destination) *string { return &d.Envelope }, t.shared.msgpack).
			Means("Wraps each event. json, or true: in a line of JSON with a unique ID. msgpack: in a MessagePack array of stream, time in milliseconds and data."))
	}
	if t.shared.delay {
		s.Blocks = append(s.Blocks, schema.Inner("batch", t.batchSection(), func(d *Destination) *Batch { return &d.Batch }).
			Means("The size and the delay of records."))
	}
	s.Blocks = append(s.Blocks, schema.Inner("retry", &retrySection, func(d *Destination) *Retry { return &d.Retry }).
		Means("The backoff after a failed request. Requests are retried without end."))
	s.Check = func(b *schema.Block, d *Destination) {
		if t.shared.aws {
			checkAWS(b, d)
		}
		if t.check != nil {
			t.check(b, d)
		}
	}
	return s
}

func (t *destinationType) batchSection() *schema.Section[Batch] {
	s := &schema.Section[Batch]{Settings: []schema.Setting[Batch]{
		schema.Duration("max_delay", "1s", func(b *Batch) *time.Duration { return &b.MaxDelay }, 0).
			Means("The longest wait of an event to be batched."),
	}}
	if t.shared.records {
		s.Settings = append(s.Settings, schema.Size("record_size", "500KiB", func(b *Batch) *int64 { return &b.RecordSize }, 1, t.shared.maxRecord).
			Means("The target size of a record."))
	}
	return s
}

// addAWS adds the settings of AWS, which may stand beside the others or in an aws block, and override the aws block of the
// file.
func addAWS(s *schema.Section[Destination]) {
	field := func(d *Destination) *AWS { return &d.AWS }
	var inherited schema.Section[AWS]
	for _, set := range awsSection.Settings {
		inherited.Settings = append(inherited.Settings, set.ByDefault("as in the aws block of the file"))
	}
	s.Settings = append(s.Settings, schema.Lifted(&inherited, field)...)
	s.Blocks = slices.Insert(s.Blocks, 0, schema.Inner("aws", &inherited, field).
		Means("The same settings of AWS as a block."))
}

// envelope is a setting of true, false or the format of an envelope. A line of text has no room for MessagePack.
func envelope[T any](name string, field func(*T) *string, msgpack bool) schema.Setting[T] {
	formats := []string{"json"}
	allowed := `true, false or "json"`
	if msgpack {
		formats, allowed = append(formats, "msgpack"), `true, false, "json" or "msgpack"`
	}
	show := func(*T) string { return "false" }
	return schema.Setting[T]{Name: name, Allowed: allowed, Kind: "flag", Show: show, Read: func(v schema.Value, into *T) bool {
		if on, ok := v.Flag(); ok {
			*field(into) = ""
			if on {
				*field(into) = "json"
			}
			return true
		}
		s, ok := v.Text()
		switch {
		case !ok:
			return false
		case s == "msgpack" && !msgpack:
			return v.Reject(`"msgpack" is no text, which this destination needs`)
		case !slices.Contains(formats, s):
			return v.Reject(schema.Quote(s) + " is unknown")
		}
		*field(into) = s
		return true
	}}
}

func quotaBlock(s schema.Section[Quota], meaning string) schema.Child[Destination] {
	return schema.Inner("quota", &s, func(d *Destination) *Quota { return &d.Quota }).Means(meaning)
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

func describeDestinations(d *schema.Description, at schema.Place, _ *Stream) {
	for _, t := range destinationTypes {
		d.Open(fmt.Sprintf("destination %q \"NAME\"", t.name), t.meaning)
		defaults := t.newDestination("")
		t.section().Describe(d, schema.Place{Path: at.Path + t.name + ".", Restart: at.Restart}, &defaults)
	}
}

func readDestination(b *schema.Block, s *Stream) {
	t, known := typeOfBlock(b)
	if !known {
		return
	}
	d := t.readBlock(b)
	checkDestination(b, s, &d)
	s.Destinations = append(s.Destinations, d)
}

// typeOfBlock returns the type of a destination block, and checks the name of the destination.
func typeOfBlock(b *schema.Block) (*destinationType, bool) {
	typ, name := b.Labels[0], b.Labels[1]
	if err := ValidStreamName(name); err != nil {
		b.Fault(b.LabelPos[1], "destination name %v", err)
	}
	t, known := destinationTypeOf(typ)
	if !known {
		b.Fault(b.LabelPos[0], "destination type %s is unknown; %s", schema.Quote(typ), schema.Instead(typ, DestinationTypes()))
	}
	return t, known
}

// readBlock reads a destination block of the type.
func (t *destinationType) readBlock(b *schema.Block) Destination {
	d := t.newDestination(b.Labels[1])
	d.Pos = b.Head
	if t.shared.aws {
		d.AWS = stateOf(b).aws
	}
	t.section().Read(b, &d)
	return d
}
