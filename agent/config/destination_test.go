package config_test

import (
	"testing"
	"time"

	"github.com/standpipe/standpipe/agent/config"
)

// everyDestination is a stream with one destination of each of the types of this file's tests.
const everyDestination = `
aws {
  region      = "eu-west-1"
  role_arn    = "arn:aws:iam::123456789012:role/ship"
  external_id = "customer-42"
}
stream "orders" {
  destination "kafka" "bus" {
    brokers     = ["kafka-1:9092", "[::1]:9093"]
    topic       = "orders-${stream}"
    delivery    = "exactly_once"
    compression = "zstd"
    envelope    = "msgpack"
    sasl {
      mechanism     = "SCRAM-SHA-512"
      username      = "ship"
      password_file = "/etc/password"
    }
    tls {
      ca_file     = "/etc/ca.pem"
      cert_file   = "/etc/client.pem"
      key_file    = "/etc/client.key"
      server_name = "kafka.example"
    }
    batch { max_delay = "50ms" }
  }
  destination "s3" "lake" {
    bucket         = "events"
    prefix         = "raw/${stream}/dt=%Y-%m-%d/hour=%H/100%%/"
    format         = "parquet"
    compression    = "zstd"
    roll_size      = "1GiB"
    roll_interval  = "1h"
    part_size      = "8MiB"
    row_group_size = "16MiB"
    path_style     = true
    sse_kms_key_id = "alias/events"
    tags           = { team = "metering @ eu", "cost centre" = "a=b" }
    storage_class  = "STANDARD_IA"
    session_name   = "gateway-17"
  }
  destination "sqs" "jobs" {
    queue_url = "https://sqs.eu-west-1.amazonaws.com/123456789012/${stream}.fifo"
    region    = "eu-west-2"
    role_arn  = ""
  }
  destination "relay" "site" {
    address    = "gateway.site:7710"
    token_file = "/etc/token"
    ack        = "delivered"
    tls {}
  }
  destination "statsd" "counts" {
    address     = "unixgram:///run/statsd.sock"
    metric      = "events.${stream}.${name}"
    name_field  = "event.name"
    value_field = "ms"
    type        = "timer"
    sample_rate = 0.25
    tags        = ["market", "user.country"]
    flavor      = "influx"
    interval    = "1s"
    max_series  = 50
  }
  destination "stdout" "console" {
    envelope = true
  }
}`

func TestDestinations_ReadEverySetting(t *testing.T) {
	retry := defaultRetry
	delay := config.Batch{MaxDelay: time.Second}
	aws := config.AWS{Region: "eu-west-1", RoleARN: "arn:aws:iam::123456789012:role/ship", ExternalID: "customer-42"}
	lakes, jobs := aws, aws
	lakes.SessionName = "gateway-17"
	jobs.Region, jobs.RoleARN = "eu-west-2", ""
	want := []config.Destination{
		{Type: "kafka", Name: "bus", Priority: "normal", AWS: aws, Retry: retry, Batch: config.Batch{MaxDelay: 50 * time.Millisecond}, Envelope: "msgpack", Format: "json",
			Kafka: config.Kafka{
				Brokers: config.ListOf("kafka-1:9092", "[::1]:9093"), Topic: "orders-orders", Delivery: "exactly_once", Compression: "zstd",
				SASL: config.SASL{Mechanism: "SCRAM-SHA-512", Username: "ship", PasswordFile: "/etc/password"},
				TLS:  config.ClientTLS{On: true, CAFile: "/etc/ca.pem", CertFile: "/etc/client.pem", KeyFile: "/etc/client.key", ServerName: "kafka.example"},
			}},
		{Type: "s3", Name: "lake", Priority: "normal", AWS: lakes, Retry: retry, Format: "json",
			S3: config.S3{
				Bucket: "events", Prefix: "raw/orders/dt=%Y-%m-%d/hour=%H/100%%/", Format: "parquet", Compression: "zstd", RollSize: 1 << 30, RollInterval: time.Hour,
				PartSize: 8 << 20, RowGroupSize: 16 << 20, PathStyle: true, Checksums: true, KMSKeyID: "alias/events", Tags: "cost+centre=a%3Db&team=metering+%40+eu", StorageClass: "STANDARD_IA",
			}},
		{Type: "sqs", Name: "jobs", Format: "json", Priority: "normal", AWS: jobs, Retry: retry, Batch: delay, Pace: true,
			SQS: config.SQS{QueueURL: "https://sqs.eu-west-1.amazonaws.com/123456789012/orders.fifo"}},
		{Type: "relay", Name: "site", Priority: "normal", Retry: retry, Batch: delay,
			Relay: config.Relay{Network: "tcp", Address: "gateway.site:7710", Stream: "orders", Ack: "delivered", TokenFile: "/etc/token", TLS: config.ClientTLS{On: true}}},
		{Type: "statsd", Name: "counts", Priority: "normal", Retry: retry,
			Statsd: config.Statsd{
				Network: "unixgram", Address: "/run/statsd.sock", Metric: "events.orders.${name}", NameField: "event.name", ValueField: "ms", Kind: "timer",
				SampleRate: 0.25, Tags: config.ListOf("market", "user.country"), Flavor: "influx", Interval: time.Second, MaxSeries: 50,
			}},
		{Type: "stdout", Name: "console", Priority: "normal", Retry: retry, Batch: delay, Envelope: "json", Format: "json"},
	}
	got := placeless(parse(t, everyDestination)).Streams[0].Destinations
	if len(got) != len(want) {
		t.Fatalf("got %d destinations", len(got))
	}
	for i := range want {
		if d := got[i].For("orders"); d != want[i] {
			t.Errorf("got  %+v\nwant %+v", d, want[i])
		}
	}
}

func TestDestinations_Defaults(t *testing.T) {
	c := parse(t, `
stream "a" {
  destination "kafka" "k" {
    brokers = ["k:9092"]
    topic   = "t"
  }
  destination "s3" "s" { bucket = "events" }
  destination "relay" "r" { address = "gateway.site:7710" }
  destination "statsd" "d" { address = "udp://127.0.0.1:8125" }
  destination "statsd" "n" {
    address    = "udp://127.0.0.1:8125"
    name_field = "name"
  }
}`)
	d := c.Streams[0].Destinations
	if want := (config.Kafka{Brokers: "k:9092", Topic: "t", Delivery: "at_least_once", Compression: "none"}); d[0].Kafka != want {
		t.Errorf("got %+v, want %+v", d[0].Kafka, want)
	}
	if want := (config.S3{Bucket: "events", Format: "jsonl", Compression: "gzip", RollSize: 64 << 20, RollInterval: 5 * time.Minute, PartSize: 5 << 20, RowGroupSize: 32 << 20, Checksums: true}); d[1].S3 != want {
		t.Errorf("got %+v, want %+v", d[1].S3, want)
	}
	if want := (config.Relay{Network: "tcp", Address: "gateway.site:7710", Stream: "a", Ack: "durable"}); d[2].For("a").Relay != want {
		t.Errorf("got %+v, want %+v", d[2].Relay, want)
	}
	want := config.Statsd{Network: "udp", Address: "127.0.0.1:8125", Metric: "events.a", Kind: "counter", SampleRate: 1, Flavor: "dogstatsd", Interval: 10 * time.Second, MaxSeries: 1000}
	if got := d[3].For("a").Statsd; got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	want.Metric, want.NameField = "events.${name}", "name"
	if got := d[4].For("a").Statsd; got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestList_Values(t *testing.T) {
	if got := config.ListOf().Values(); got != nil {
		t.Errorf("got %q, want none", got)
	}
	if got := config.ListOf("a,b", "c").Values(); len(got) != 2 || got[0] != "a,b" || got[1] != "c" {
		t.Errorf("got %q", got)
	}
}

// Streams may write into one bucket and under one prefix: a key has the stream's name.
func TestPrefix_IsSharedByStreams(t *testing.T) {
	parse(t, `
stream "a*" {
  destination "s3" "one" {
    bucket = "events"
    prefix = "raw/"
  }
  destination "s3" "two" {
    bucket = "events"
    prefix = "raw/${stream}/"
  }
  destination "s3" "three" {
    bucket = "others"
    prefix = "raw/"
  }
  destination "s3" "four" {
    bucket   = "events"
    prefix   = "raw/"
    endpoint = "http://127.0.0.1:9000"
  }
}
stream "b" {
  destination "s3" "one" {
    bucket = "events"
    prefix = "raw/"
  }
}
stream "a-b" {
  destination "s3" "one" {
    bucket = "events"
    prefix = "raw/"
  }
}`)
}
