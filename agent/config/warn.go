package config

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/standpipe/standpipe/agent/config/internal/folder"
	"github.com/standpipe/standpipe/agent/config/internal/odd"
	"github.com/standpipe/standpipe/agent/config/internal/pattern"
	"github.com/standpipe/standpipe/agent/config/internal/schema"
)

// warnRegion adds a warning for a region that AWS does not have. Other services at an endpoint of their own may have any.
func warnRegion(b *schema.Block, a AWS) {
	if a.Region == "" || a.Endpoint != "" {
		return
	}
	if text := odd.Region(a.Region); text != "" {
		b.Warn(b.At("region"), "region: %s %s", schema.Quote(a.Region), text)
	}
}

// warnOwnRegion adds warnings for the region of a destination, if it stands there, beside the names of its target.
func warnOwnRegion(b *schema.Block, d *Destination) {
	at := b.At("region")
	written := b.Wrote("region")
	for _, nested := range b.Nested("aws") {
		if p, ok := nested.Attribute("region"); ok {
			at, written = p, true
		}
	}
	if b.Wrote("region") {
		warnRegion(b, d.AWS)
	}
	for _, set := range []struct{ name, value string }{{"stream", d.Stream}, {"queue_url", d.SQS.QueueURL}, {"sse_kms_key_id", d.S3.KMSKeyID}} {
		named := odd.RegionIn(set.value)
		switch {
		case named == "" || named == d.AWS.Region || d.AWS.Region == "":
		case set.name == "sse_kms_key_id":
			b.Warn(b.At(set.name), "%s: the key is in region %q, and the bucket's requests go to %q; a bucket needs a key of its own region", set.name, named, d.AWS.Region)
		case written:
			b.Warn(at, "region: %s names region %q, which is used, not %q; one of the two is a mistake", set.name, named, d.AWS.Region)
		}
	}
}

// ownFolder is the folder of a file destination.
type ownFolder struct {
	stream, destination, path string // path: with links resolved and the name of a single stream filled in
	at, block                 Pos
}

// warnDestination adds the warnings about a destination in its stream.
func warnDestination(b *schema.Block, s *Stream, d *Destination) {
	warnOwnRegion(b, d)
	for _, other := range s.Destinations {
		if target := d.target(); target != "" && target == other.target() && other.Name != d.Name {
			b.Warn(b.Head, "destination %s has the same target as %s at %s; each event arrives there twice",
				schema.Quote(d.Name), schema.Quote(other.Name), other.Pos.SeenFrom(b.Head))
		}
	}
	if d.Type != "file" || !b.Wrote("path") {
		return
	}
	if pattern.Is(s.Name) && !strings.Contains(d.Path, pattern.StreamMark) {
		b.Warn(b.At("path"), "path: all streams of %s write into %s; write ${stream} into the path to keep them apart", schema.Quote(s.Name), schema.Quote(d.Path))
		return
	}
	mine := ownFolder{s.Name, d.Name, folder.Real(s.Name, d.Path), b.At("path"), b.Head}
	for _, other := range stateOf(b).folders {
		if other.path == mine.path && other.stream != mine.stream {
			b.Warn(mine.at, "path: stream %s writes into %s too, at %s; write ${stream} into the path to keep them apart",
				schema.Quote(other.stream), schema.Quote(d.Path), other.block.SeenFrom(b.Head))
			break
		}
	}
	stateOf(b).folders = append(stateOf(b).folders, mine)
}

// target names the place where the events of a destination arrive; "": events may arrive there twice.
func (d Destination) target() string {
	service := d.Type + " " + d.AWS.Region + " " + d.AWS.Endpoint + " "
	switch d.Type {
	case "kinesis":
		return service + d.Stream
	case "firehose":
		return service + d.DeliveryStream
	case kafkaType.name:
		return d.Type + " " + string(d.Kafka.Brokers) + " " + d.Kafka.Topic
	case sqsType.name:
		return d.Type + " " + d.SQS.QueueURL
	case relayType.name:
		return d.Type + " " + d.Relay.Address + " " + d.Relay.Stream
	case "stdout":
		return d.Type
	}
	return ""
}

// slowAck is the longest time that a producer surely waits for an ack.
const slowAck = 30 * time.Second

// warnStream adds the warnings about a stream, after its destinations are read.
func warnStream(b *schema.Block, s *Stream) {
	wal := stateOf(b).wal
	if s.MaxSize >= wal.MaxSize && s.MaxSize > 0 {
		b.Warn(b.At("max_size"), "max_size: %s is not below max_size of wal, which is %s and is reached first", schema.SizeText(s.MaxSize), schema.SizeText(wal.MaxSize))
	}
	for _, d := range s.Destinations {
		wait := d.Batch.MaxDelay
		if d.Type == s3Type.name {
			wait = d.S3.RollInterval
		}
		if s.MaxAge > 0 && wait >= s.MaxAge {
			b.Warn(b.At("max_age"), "max_age: events are dropped after %s, and destination %s collects them for %s before it sends them",
				schema.DurationText(s.MaxAge), schema.Quote(d.Name), schema.DurationText(wait))
		}
		if s.Ack == "delivered" && wait > slowAck {
			b.Warn(b.At("ack"), "ack: producers wait until destination %s has the event, which collects events for %s", schema.Quote(d.Name), schema.DurationText(wait))
		}
	}
}

// warnFile adds the warnings about the configuration as a whole.
func warnFile(b *schema.Block, c *Config) {
	if !b.Has("stream") {
		b.Warn(b.Head, "the configuration has no stream block; all events are rejected")
	}
	largest := int64(0)
	for _, s := range c.Streams {
		largest = max(largest, s.MaxEventSize)
	}
	for _, l := range c.Listeners {
		if most := cmp.Or(l.MaxRequestSize, l.MaxLineSize); most < largest {
			b.Warn(l.Pos, "listener %q accepts at most %s at once, and max_event_size of a stream is %s", l.Type, schema.SizeText(most), schema.SizeText(largest))
		}
	}
	if share := c.WAL.MinFree.Share; share >= 0.5 {
		b.Warn(stateOf(b).walPos, "min_free: %v%% of the file system is left to others, and the log may use the rest alone", share*100)
	}
	for _, i := range c.Identities {
		warnIdentity(b, c, i)
	}
	for _, d := range stateOf(b).shared {
		if !d.used {
			d.b.Warn(d.b.Head, "destination %s is in the destinations setting of no stream, and gets no events", schema.Quote(d.d.Name))
		}
	}
}

// warnIdentity adds a warning for an identity whose credentials no listener checks.
func warnIdentity(b *schema.Block, c *Config, i Identity) {
	auth, sockets, certificates := false, false, false
	note := func(a *Auth, network string, t *TLS) {
		if a == nil || a.Identities != nil && !slices.Contains(a.Identities, i.Name) {
			return
		}
		auth = true
		sockets = sockets || network == "unix"
		certificates = certificates || t != nil && t.ClientCAFile != ""
	}
	note(c.Admin.Auth, c.Admin.Network, c.Admin.TLS)
	for _, l := range c.Listeners {
		note(l.Auth, l.Network, l.TLS)
	}
	processes, names := len(i.UIDs)+len(i.GIDs) > 0, len(i.Certificates) > 0
	switch {
	case !auth:
		b.Warn(i.Pos, "identity %q is in the auth block of no listener; its limits and rights have no effect", i.Name)
	case i.TokenFile != "":
	case processes && !names && !sockets:
		b.Warn(i.Pos, "identity %q has uids or gids alone, and no listener on a unix socket accepts it", i.Name)
	case names && !processes && !certificates:
		b.Warn(i.Pos, "identity %q has certificates alone, and no listener that accepts it has client_ca_file", i.Name)
	}
}
