package config

import (
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/standpipe/standpipe/agent/config/internal/pattern"
	"github.com/standpipe/standpipe/agent/config/internal/rule"
	"github.com/standpipe/standpipe/agent/config/internal/schema"
)

// S3 is the settings that only an s3 destination has.
type S3 struct {
	Bucket       string
	Prefix       string // may contain ${stream}, and strftime conversions for the time of writing in UTC: see strftime
	Format       string // jsonl or parquet
	Compression  string // none, gzip or zstd
	RollSize     int64  // bytes of an object
	RollInterval time.Duration
	PartSize     int64 // bytes of a part of an upload
	RowGroupSize int64 // parquet: bytes of the events of a row group
	PathStyle    bool  // the bucket is in the path of requests, not in the host
	Checksums    bool  // of the SDK; some services do not take them
	KMSKeyID     string
	Tags         string // of the objects, encoded as in a URL's query
	StorageClass string // empty: the bucket's default
}

// Limits of Amazon S3 for uploads in parts: Amazon S3 User Guide, Multipart upload limits, November 2026.
const (
	leastPart = 5 * mib
	mostPart  = 256 * mib // S3 takes 5 GiB; a part is in memory
	mostParts = 10_000
)

// storageClasses are the classes of PutObject that take objects without an archive's delay for reading.
var storageClasses = []string{"STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR", "REDUCED_REDUNDANCY", "EXPRESS_ONEZONE",
	"GLACIER", "DEEP_ARCHIVE"}

const (
	bucketName = `the name of a bucket: 3 to 63 characters of a-z 0-9 . -, like "events"`
	s3Prefix   = `the beginning of the objects' names, like "raw/${stream}/dt=%Y-%m-%d/hour=%H/"`
)

var s3Type = destinationType{
	name: "s3",
	meaning: "Objects of Amazon S3 or a service with its interface. An object is named PREFIX, STREAM-LOGID-FIRSTOFFSET and the extension. " +
		awsMeaning,
	shared: shared{aws: true, bandwidth: true, envelope: true},
	own: []schema.Setting[Destination]{
		schema.Text("bucket", bucketName, func(d *Destination) *string { return &d.S3.Bucket }, rule.Bucket).Needed().
			Means("The bucket."),
		marked("prefix", s3Prefix, func(d *Destination) *string { return &d.S3.Prefix }, rule.Prefix).
			Means("The beginning of the objects' names. ${stream} is replaced by the name of the event's stream, and %Y, %m, %d, %H, %M, %S, %j, %y, %s and %F by the time of writing in UTC, as strftime does."),
		schema.Word("format", func(d *Destination) *string { return &d.S3.Format }, "jsonl", "parquet").
			Means("jsonl: one line an event. parquet: rows with the columns stream, offset, key, time, attributes and data."),
		schema.Word("compression", func(d *Destination) *string { return &d.S3.Compression }, "gzip", "zstd", "none").
			Means("The compression of the object, or of the pages of a parquet object."),
		schema.Size("roll_size", "64MiB", func(d *Destination) *int64 { return &d.S3.RollSize }, 1, 0).
			Means("A new object is started at this size."),
		schema.Duration("roll_interval", "5m", func(d *Destination) *time.Duration { return &d.S3.RollInterval }, shortest).
			Means("A new object is started at this age of the current one."),
		schema.Size("part_size", "5MiB", func(d *Destination) *int64 { return &d.S3.PartSize }, leastPart, mostPart).
			Means("The size of a part of an upload. Larger objects are uploaded in parts."),
		schema.Size("row_group_size", "32MiB", func(d *Destination) *int64 { return &d.S3.RowGroupSize }, 64*kib, gib).
			Means("The size of the events in a row group of a parquet object, which is sorted in memory."),
		schema.Flag("path_style", func(d *Destination) *bool { return &d.S3.PathStyle }).
			Means("Names the bucket in the path of requests, not in the host, for services that need it."),
		schema.Flag("checksums", func(d *Destination) *bool { return &d.S3.Checksums }).
			Means("Sends the checksums of the SDK. Some services with S3's interface do not take them."),
		schema.Text("sse_kms_key_id", "the ID, the alias or the ARN of a KMS key", func(d *Destination) *string { return &d.S3.KMSKeyID }, schema.Anything).
			Means("The KMS key that encrypts the objects. Empty: as the bucket is set up."),
		tags("tags", `up to 10 tags, like { team = "metering" }`, func(d *Destination) *string { return &d.S3.Tags }).
			Means("The tags of the objects."),
		schema.Word("storage_class", func(d *Destination) *string { return &d.S3.StorageClass }, storageClasses...).ByDefault("STANDARD").
			Means("The storage class of the objects."),
	},
	check: checkS3,
	defaults: func(d *Destination) {
		d.S3 = S3{Format: "jsonl", Compression: "gzip", RollSize: 64 * mib, RollInterval: 5 * time.Minute, PartSize: leastPart, Checksums: true, RowGroupSize: 32 * mib}
	},
	price: func(p Prices, u Usage) (float64, bool) {
		return p.S3ThousandRequests*u.Requests/1e3 + p.S3GB*u.BilledBytes/PricedGB, p.S3ThousandRequests > 0 || p.S3GB > 0
	},
}

func checkS3(b *schema.Block, d *Destination) {
	if d.S3.Format == "parquet" && d.Envelope != "" {
		b.Fault(b.At("envelope"), "envelope: a parquet object has the envelope's fields as columns; allowed is envelope with format = \"jsonl\"")
	}
	if d.S3.Format != "parquet" && b.Wrote("row_group_size") && !b.Misread("format") {
		b.Fault(b.At("row_group_size"), "row_group_size: only parquet has row groups; allowed is row_group_size with format = \"parquet\"")
	}
	if most := mostParts * d.S3.PartSize; d.S3.RollSize > most {
		b.Fault(b.At("roll_size"), "roll_size: an upload has at most %d parts, of part_size = %q each; allowed is at most %s, or a larger part_size",
			mostParts, schema.SizeText(d.S3.PartSize), schema.SizeText(most))
	}
}

// s3Target is an s3 destination of a stream block.
type s3Target struct {
	stream string // the name or the pattern
	d      Destination
	pos    Pos // of the prefix, or of the destination without one
}

// key returns the beginning of the keys of the objects, with ${stream} for a pattern.
func (t s3Target) key() string {
	key := t.d.S3.Prefix + pattern.StreamMark
	if !pattern.Is(t.stream) {
		key = strings.ReplaceAll(key, pattern.StreamMark, t.stream)
	}
	return key
}

// checkKeys adds a fault for every s3 destination whose objects could have the keys of another's: the object that comes
// second would be rejected as one that is there already.
func (st *state) checkKeys(b *schema.Block, c *Config) {
	for i, later := range st.s3 {
		for _, earlier := range st.s3[:i] {
			if !later.meets(earlier, c) {
				continue
			}
			b.Fault(later.pos, "prefix: destination %s of stream %s at %s writes objects of the same keys; allowed is a prefix or a bucket of its own",
				schema.Quote(earlier.d.Name), schema.Quote(earlier.stream), earlier.d.Pos.SeenFrom(later.pos))
			break
		}
	}
}

// meets reports whether an object of t and one of o can have one key. Of two patterns it finds those that differ in nothing.
func (t s3Target) meets(o s3Target, c *Config) bool {
	mine, theirs := t.key(), o.key()
	switch {
	case t.d.S3.Bucket != o.d.S3.Bucket || t.d.AWS.Endpoint != o.d.AWS.Endpoint:
		return false
	case t.stream == o.stream:
		return pattern.Meet(t.stream, mine, theirs)
	}
	return mine == theirs && !pattern.Is(t.stream) && !pattern.Is(o.stream) || t.becomes(theirs, c) || o.becomes(mine, c)
}

// becomes reports whether a stream of the pattern has the key, which has no ${stream}.
func (t s3Target) becomes(key string, c *Config) bool {
	stream, ok := pattern.Filling(t.stream, t.key(), key)
	if !ok {
		return false
	}
	s, _ := c.Match(stream)
	return s != nil && s.Name == t.stream
}

// Limits of Amazon S3 for the tags of an object: Amazon S3 User Guide, Object tagging, November 2026.
const (
	mostTags     = 10
	mostTagKey   = 128
	mostTagValue = 256
)

// tags is a setting of the tags of an object, like { team = "metering" }.
func tags[T any](name, allowed string, field func(*T) *string) schema.Setting[T] {
	show := func(*T) string { return schema.None }
	return schema.Setting[T]{Name: name, Allowed: allowed, Kind: "map", Show: show, Read: func(v schema.Value, into *T) bool {
		pairs, ok := v.Pairs()
		if !ok {
			return false
		}
		all := url.Values{}
		for _, p := range pairs {
			wrong := ""
			switch {
			case p.Key == "" || utf8.RuneCountInString(p.Key) > mostTagKey || rule.WrongTag(p.Key):
				wrong = "is no name of a tag"
			case all.Has(p.Key):
				wrong = "is given twice"
			case utf8.RuneCountInString(p.Value) > mostTagValue || rule.WrongTag(p.Value):
				return p.At.Reject(schema.Quote(p.Value) + " is no value of a tag")
			}
			if wrong != "" {
				return p.At.Reject(schema.Quote(p.Key) + " " + wrong)
			}
			all.Set(p.Key, p.Value)
		}
		if len(all) > mostTags {
			return v.Reject(fmt.Sprintf("an object has no %d tags", len(all)))
		}
		*field(into) = all.Encode()
		return true
	}}
}
