package config

import (
	"time"

	"github.com/standpipe/standpipe/agent/config/internal/rule"
	"github.com/standpipe/standpipe/agent/config/internal/schema"
)

// Provision is how the command provision creates what a destination writes to. The agent does not read it.
type Provision struct {
	Mode       string        // kinesis: on_demand or provisioned
	Shards     int64         // kinesis, provisioned
	Archive    bool          // kinesis: a Firehose stream writes the events to a bucket too
	Bucket     string        // of the Firehose stream; empty: standpipe-ACCOUNT-REGION
	Freshness  time.Duration // an alarm is raised if the oldest event that is not in the bucket is older
	AlarmTopic string        // the ARN of an SNS topic; empty: none
}

// mostShards is the highest default quota of a region for the shards of all streams: Amazon Kinesis Data Streams Developer Guide,
// Quotas and limits, November 2026.
const mostShards = 20_000

// defaultProvision is the values without a provision block.
func defaultProvision(d *Destination) {
	d.Provision = Provision{Freshness: 15 * time.Minute}
	if d.Type == "kinesis" {
		d.Provision.Mode, d.Provision.Shards = "on_demand", 1
	}
}

var provisionStream = []schema.Setting[Provision]{
	schema.Word("mode", func(p *Provision) *string { return &p.Mode }, "on_demand", "provisioned").
		Means("The capacity mode of the Kinesis stream."),
	schema.Count("shards", "4", func(p *Provision) *int64 { return &p.Shards }, 1, mostShards).
		Means("The shards of a Kinesis stream with mode = \"provisioned\"."),
	schema.Flag("archive", func(p *Provision) *bool { return &p.Archive }).
		Means("Creates a Firehose stream too, which writes the events of the Kinesis stream to a bucket."),
}

var provisionDelivery = []schema.Setting[Provision]{
	schema.Text("bucket", bucketName, func(p *Provision) *string { return &p.Bucket }, func(s string) string {
		if s == "" {
			return ""
		}
		return rule.Bucket(s)
	}).ByDefault("standpipe-ACCOUNT-REGION").
		Means("The bucket that the Firehose stream writes to. Firehose streams may share one: each has a folder."),
	schema.Duration("freshness", "15m", func(p *Provision) *time.Duration { return &p.Freshness }, time.Minute).
		Means("An alarm is raised if the oldest event that the Firehose stream has not written is older."),
	schema.Text("alarm_topic", `the ARN of an SNS topic, like "arn:aws:sns:eu-west-1:123456789012:on-call"`, func(p *Provision) *string { return &p.AlarmTopic }, rule.AlarmTopic).
		Means("The SNS topic that is notified of alarms. Empty: alarms are shown in CloudWatch only."),
}

// provisionBlock is the provision block of a type of destination.
func provisionBlock(check func(*schema.Block, *Provision), settings ...[]schema.Setting[Provision]) schema.Child[Destination] {
	s := &schema.Section[Provision]{Check: check}
	for _, more := range settings {
		s.Settings = append(s.Settings, more...)
	}
	return schema.Inner("provision", s, func(d *Destination) *Provision { return &d.Provision }).
		Means("The way in which the command provision creates the target. The agent does not need it.")
}

func checkProvisionedStream(b *schema.Block, p *Provision) {
	if b.Wrote("shards") && p.Mode != "provisioned" && !b.Misread("mode") {
		b.Fault(b.At("shards"), "shards: a stream on demand has no fixed number of shards; allowed is shards with mode = \"provisioned\"")
	}
	if b.Wrote("bucket") && !p.Archive && !b.Misread("archive") {
		b.Fault(b.At("bucket"), "bucket: only an archive has a bucket; allowed is bucket with archive = true")
	}
}
