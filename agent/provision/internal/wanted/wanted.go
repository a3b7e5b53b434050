package wanted

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/agent/iam"
)

// AccountMark stands in names for the number of the account. No name of a bucket has capital letters.
const AccountMark = "ACCOUNT"

// Limits of names: the API references of IAM (RoleName) and Data Firehose (DeliveryStreamName), November 2026.
const maxName = 64

// Place is where a resource is, and the credentials for it.
type Place struct {
	Region, Profile string
	Endpoint        string // of Kinesis or Firehose; empty: AWS's
	Account         string // AccountMark: unknown
}

// Partition returns the partition of ARNs.
func (p Place) Partition() string { return iam.Partition(p.Region) }

// ARN returns the ARN of a resource of a region.
func (p Place) ARN(service, resource string) string {
	return "arn:" + p.Partition() + ":" + service + ":" + p.Region + ":" + p.Account + ":" + resource
}

// Stream is a Kinesis stream.
type Stream struct {
	Place
	Name   string
	Shards int64 // 0: on demand
}

// ARN returns the ARN of the stream.
func (s Stream) ARN() string { return s.Place.ARN("kinesis", "stream/"+s.Name) }

// Bucket is an S3 bucket.
type Bucket struct {
	Place
	Name string
}

// ARN returns the ARN of the bucket.
func (b Bucket) ARN() string { return "arn:" + b.Partition() + ":s3:::" + b.Name }

// Delivery is a Firehose stream that writes to a bucket, and its role.
type Delivery struct {
	Place
	Name    string
	Source  string // the Kinesis stream that it reads; empty: producers put records
	Newline bool   // a newline is added after each event: the source's records end without one
	Bucket  string
}

// Role returns the name of the role that the Firehose stream assumes. Roles have no region, so the name has it.
func (d Delivery) Role() string { return shorten("standpipe-" + d.Name + "-" + d.Region) }

// RoleARN returns the ARN of the role.
func (d Delivery) RoleARN() string {
	return "arn:" + d.Partition() + ":iam::" + d.Account + ":role/" + d.Role()
}

// Prefix returns the beginning of the names of the objects, before the hour.
func (d Delivery) Prefix() string { return d.Name + "/" }

// ErrorFolder returns the folder for records that Firehose cannot write. Firehose adds the kind of error.
func (d Delivery) ErrorFolder() string { return "errors/" + d.Name + "/" }

// ErrorPrefix returns the beginning of the names of objects with records that Firehose cannot write.
func (d Delivery) ErrorPrefix() string { return d.ErrorFolder() + "!{firehose:error-output-type}/" }

// Trust returns the trust policy of the role.
func (d Delivery) Trust() iam.Document { return iam.DeliveryTrust(d.Account) }

// Policy returns the policy of the role.
func (d Delivery) Policy() iam.Document {
	source := ""
	if d.Source != "" {
		source = Stream{Place: d.Place, Name: d.Source}.ARN()
	}
	return iam.DeliveryPolicy(Bucket{Place: d.Place, Name: d.Bucket}.ARN(), []string{d.Prefix(), d.ErrorFolder()}, source)
}

// The buffer of a Firehose stream: the defaults of the service. Data Firehose API Reference, BufferingHints, November 2026.
const (
	BufferMiB     = 5
	BufferSeconds = 300
)

// AbortAfterDays is the age at which a bucket removes the parts of an unfinished upload.
const AbortAfterDays = 7

// Set is the resources of a configuration, sorted by name.
type Set struct {
	Streams    []Stream
	Buckets    []Bucket
	Deliveries []Delivery
	Alarms     []Alarm
	Unnamed    []string // patterns of streams whose names decide the targets, and none was given
}

// Empty reports whether no destination needs anything.
func (s Set) Empty() bool { return len(s.Streams)+len(s.Deliveries) == 0 }

// Options complete the configuration.
type Options struct {
	Streams  []string // names of streams for the patterns of the configuration
	Patterns bool     // a pattern without such a name stands for itself
	// At completes a place that has a profile, and a region if the file has one.
	At func(Place) (Place, error)
}

// From returns the resources that the configuration needs.
func From(conf *config.Config, o Options) (Set, error) {
	b := builder{at: o.At, streams: map[Stream]want{}, deliveries: map[Delivery]want{}}
	var set Set
	for _, s := range conf.Streams {
		names := []string{s.Name}
		if strings.Contains(s.Name, "*") {
			names = slices.DeleteFunc(slices.Clone(o.Streams), func(name string) bool {
				matched, _ := conf.Match(name)
				return matched == nil || matched.Name != s.Name
			})
		}
		for _, d := range s.Destinations {
			targets := names
			if strings.Contains(s.Name, "*") && d.For("x") == d.For("y") {
				targets = []string{s.Name} // one target for all streams of the pattern
			}
			if len(targets) == 0 && o.Patterns {
				targets = []string{s.Name}
			}
			if len(targets) == 0 && (d.Type == "kinesis" || d.Type == "firehose") && !slices.Contains(set.Unnamed, s.Name) {
				set.Unnamed = append(set.Unnamed, s.Name)
			}
			for _, name := range targets {
				b.add(d.For(name), fmt.Sprintf("destination %q of stream %q", d.Name, name))
			}
		}
	}
	for _, name := range o.Streams {
		if _, ok := conf.Match(name); !ok {
			b.faults = append(b.faults, fmt.Errorf("stream %q: no block of the file matches", name))
		}
	}
	if len(b.faults) > 0 {
		return Set{}, errors.Join(b.faults...)
	}
	b.finish(&set)
	return set, nil
}

// want is the rest of the settings of a resource, and the destination that wants it.
type want struct {
	by        string
	provision config.Provision
}

type builder struct {
	at         func(Place) (Place, error)
	streams    map[Stream]want
	deliveries map[Delivery]want
	faults     []error
}

// add adds the resources that a destination needs.
func (b *builder) add(d config.Destination, by string) {
	if d.Type != "kinesis" && d.Type != "firehose" {
		return
	}
	place, name, account, err := b.place(d)
	if err != nil {
		b.faults = append(b.faults, fmt.Errorf("%s: %w", by, err))
		return
	}
	if account != "" && place.Account != AccountMark && account != place.Account {
		b.faults = append(b.faults, fmt.Errorf("%s: its target is in account %s, and the credentials are of account %s: run the command with credentials of that account", by, account, place.Account))
		return
	}
	p := d.Provision
	delivery := Delivery{Place: place, Name: name, Bucket: cmp.Or(p.Bucket, "standpipe-"+place.Account+"-"+place.Region)}
	if d.Type == "kinesis" {
		s := Stream{Place: place, Name: name}
		if p.Mode == "provisioned" {
			s.Shards = p.Shards
		}
		for other, w := range b.streams {
			if other.Place == s.Place && other.Name == s.Name && other.Shards != s.Shards {
				b.faults = append(b.faults, fmt.Errorf("%s: Kinesis stream %q is wanted with other shards or another mode by %s", by, name, w.by))
				return
			}
		}
		if w, there := b.streams[s]; !there || w.provision.AlarmTopic == "" {
			b.streams[s] = want{by, p}
		}
		if !p.Archive {
			return
		}
		delivery.Name, delivery.Source, delivery.Newline = shorten(name+"-archive"), name, d.Aggregate != "lines"
	}
	for other, w := range b.deliveries {
		if other.Place == delivery.Place && other.Name == delivery.Name && (other != delivery || w.provision != p) {
			b.faults = append(b.faults, fmt.Errorf("%s: Firehose stream %q is wanted in another way by %s", by, delivery.Name, w.by))
			return
		}
	}
	b.deliveries[delivery] = want{by, p}
}

// place returns where the target of a destination is, its name, and the account that the file names; "": none.
func (b *builder) place(d config.Destination) (place Place, name, account string, err error) {
	place = Place{Region: d.AWS.Region, Profile: d.AWS.Profile, Endpoint: d.AWS.Endpoint}
	name = cmp.Or(d.Stream, d.DeliveryStream)
	if parts := strings.SplitN(d.AWS.RoleARN, ":", 6); len(parts) == 6 {
		account = parts[4]
	}
	if parts := strings.SplitN(name, ":", 6); len(parts) == 6 { // an ARN
		place.Region, account, name = parts[3], parts[4], strings.TrimPrefix(parts[5], "stream/")
	}
	if d.Type == "firehose" && len(name) > maxName {
		return place, name, account, fmt.Errorf("the name %q of a Firehose stream has %d characters; allowed are %d", name, len(name), maxName)
	}
	place, err = b.at(place)
	return place, name, account, err
}

// finish sorts the resources, and adds the buckets and the alarms.
func (b *builder) finish(set *Set) {
	for s := range b.streams {
		set.Streams = append(set.Streams, s)
	}
	slices.SortFunc(set.Streams, func(x, y Stream) int {
		return cmp.Or(cmp.Compare(x.Name, y.Name), cmp.Compare(x.Region, y.Region), cmp.Compare(x.Profile, y.Profile))
	})
	for d := range b.deliveries {
		set.Deliveries = append(set.Deliveries, d)
	}
	slices.SortFunc(set.Deliveries, func(x, y Delivery) int {
		return cmp.Or(cmp.Compare(x.Name, y.Name), cmp.Compare(x.Region, y.Region), cmp.Compare(x.Profile, y.Profile))
	})
	for _, s := range set.Streams {
		set.Alarms = append(set.Alarms, s.alarms(b.streams[s].provision.AlarmTopic)...)
	}
	for _, d := range set.Deliveries {
		bucket := Bucket{Place: d.Place, Name: d.Bucket}
		bucket.Endpoint = ""
		if !slices.Contains(set.Buckets, bucket) {
			set.Buckets = append(set.Buckets, bucket)
		}
		p := b.deliveries[d].provision
		set.Alarms = append(set.Alarms, d.alarms(p.AlarmTopic, p.Freshness/time.Second*time.Second)...)
	}
}

// shorten returns a name of at most 64 characters, which differs for different names.
func shorten(name string) string {
	if len(name) <= maxName {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	const digits = 10
	return name[:maxName-digits-1] + "-" + hex.EncodeToString(sum[:])[:digits]
}
