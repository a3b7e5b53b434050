package config_test

import (
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe/agent/config"
)

func TestProvision_SettingsAndDefaults(t *testing.T) {
	c := parse(t, `
stream "a" {
  destination "kinesis" "default" { stream = "a" }
  destination "kinesis" "all" {
    stream = "b"
    provision {
      mode        = "provisioned"
      shards      = 4
      archive     = true
      bucket      = "events"
      freshness   = "1h"
      alarm_topic = "arn:aws:sns:eu-west-1:123456789012:on-call"
    }
  }
  destination "firehose" "default-firehose" { delivery_stream = "a" }
}`)
	want := []config.Provision{
		{Mode: "on_demand", Shards: 1, Freshness: 15 * time.Minute},
		{Mode: "provisioned", Shards: 4, Archive: true, Bucket: "events", Freshness: time.Hour, AlarmTopic: "arn:aws:sns:eu-west-1:123456789012:on-call"},
		{Freshness: 15 * time.Minute},
	}
	for i, d := range c.Streams[0].Destinations {
		if d.Provision != want[i] {
			t.Errorf("%s: got %+v, want %+v", d.Name, d.Provision, want[i])
		}
	}
}

func TestProvision_Faults(t *testing.T) {
	for block, want := range map[string]string{
		`shards = 2`:           "shards: a stream on demand has no fixed number of shards",
		`bucket = "events"`:    "bucket: only an archive has a bucket",
		`mode = "auto"`:        "is unknown",
		`alarm_topic = "mine"`: "is no ARN of an SNS topic",
		`freshness = "1s"`:     "freshness",
	} {
		_, err := config.Parse([]byte("stream \"a\" {\n  destination \"kinesis\" \"k\" {\n    stream = \"a\"\n    provision { "+block+" }\n  }\n}"), "agent.hcl")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", block, err, want)
		}
	}
}
