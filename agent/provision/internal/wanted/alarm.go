package wanted

import (
	"fmt"
	"time"
)

// Alarm is a CloudWatch alarm on a metric of a stream.
type Alarm struct {
	Place
	Name, Text           string
	Namespace, Dimension string // the dimension's value is Stream
	Stream               string
	Metric, Statistic    string
	Quota                string // the metric of the quota in bytes a second: the alarm is on percent of it; empty: on the metric
	Below                bool   // the alarm is raised below the threshold, not above
	Threshold            float64
	Topic                string // the ARN of the SNS topic to notify; empty: none
}

// Period and Periods are those of all alarms: three periods in a row have to be beyond the threshold.
const (
	Period  = 5 * time.Minute
	Periods = 3
)

// full is the share of a quota that raises an alarm, in percent.
const full = 80

// leastSuccess is the share of writes to a bucket below which an alarm is raised.
const leastSuccess = 0.98

// Bytes a second of a shard, and of a stream on demand without a raised quota: Amazon Kinesis Data Streams Developer Guide, Quotas
// and limits, November 2026.
const (
	shardBytes    = 1 << 20
	onDemandBytes = 200_000_000
)

// PercentOfQuota is the expression of an alarm on a quota. used is a sum over a period, and quota is a second's.
const PercentOfQuota = "100 * used / PERIOD(used) / quota"

func (s Stream) alarms(topic string) []Alarm {
	base := Alarm{Place: s.Place, Namespace: "AWS/Kinesis", Dimension: "StreamName", Stream: s.Name, Statistic: "Sum", Topic: topic}
	base.Endpoint = ""
	quota, of := int64(onDemandBytes), "a stream on demand"
	if s.Shards > 0 {
		quota, of = s.Shards*shardBytes, fmt.Sprintf("%d shards", s.Shards)
	}
	throttled, incoming := base, base
	throttled.Name = "standpipe-kinesis-" + s.Name + "-throttled"
	throttled.Text = "The Kinesis stream throttles records. They are sent again, later."
	throttled.Metric = "WriteProvisionedThroughputExceeded"
	incoming.Name = "standpipe-kinesis-" + s.Name + "-incoming-bytes"
	incoming.Text = fmt.Sprintf("The Kinesis stream gets over %d %% of the bytes that %s may take.", full, of)
	incoming.Metric = "IncomingBytes"
	incoming.Threshold = float64(quota) * full / 100 * Period.Seconds()
	return []Alarm{throttled, incoming}
}

func (d Delivery) alarms(topic string, freshness time.Duration) []Alarm {
	base := Alarm{Place: d.Place, Namespace: "AWS/Firehose", Dimension: "DeliveryStreamName", Stream: d.Name, Topic: topic}
	base.Endpoint = ""
	fresh, success := base, base
	fresh.Name = "standpipe-firehose-" + d.Name + "-freshness"
	fresh.Text = fmt.Sprintf("The oldest event that the Firehose stream has not written to the bucket is older than %v.", freshness)
	fresh.Metric, fresh.Statistic, fresh.Threshold = "DeliveryToS3.DataFreshness", "Maximum", freshness.Seconds()
	success.Name = "standpipe-firehose-" + d.Name + "-success"
	success.Text = fmt.Sprintf("Under %.0f %% of the writes of the Firehose stream to the bucket succeed.", leastSuccess*100)
	success.Metric, success.Statistic, success.Below, success.Threshold = "DeliveryToS3.Success", "Average", true, leastSuccess
	list := []Alarm{fresh, success}
	if d.Source == "" {
		throttled, incoming := base, base
		throttled.Name = "standpipe-firehose-" + d.Name + "-throttled"
		throttled.Text = "The Firehose stream throttles records. They are sent again, later."
		throttled.Metric, throttled.Statistic = "ThrottledRecords", "Sum"
		incoming.Name = "standpipe-firehose-" + d.Name + "-incoming-bytes"
		incoming.Text = fmt.Sprintf("The Firehose stream gets over %d %% of the bytes that its quota allows.", full)
		incoming.Metric, incoming.Statistic, incoming.Quota, incoming.Threshold = "IncomingBytes", "Sum", "BytesPerSecondLimit", full
		list = append([]Alarm{throttled, incoming}, list...)
	}
	return list
}
